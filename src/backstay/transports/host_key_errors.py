"""Errors of host keys, for the operator: what is known, what was presented, and what to do."""

from collections.abc import Sequence
from pathlib import Path

import asyncssh

from backstay.commands import command
from backstay.errors import HostKeyRefused
from backstay.ownership import NotTrusted
from backstay.transports import ssh_command
from backstay.transports.known_hosts import Entry, kind, written
from backstay.transports.ssh_config import Way
from backstay.transports.targets import SshTarget
from backstay.transports.urls import is_this_machine

_LOOK = "at the host's console, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows the true one"
_ASK = ("-o", "StrictHostKeyChecking=ask")
_MOST_LINES = 4


def unknown(
    target: SshTarget, way: Way, key: asyncssh.SSHKey, files: Sequence[Path]
) -> HostKeyRefused:
    """Return the error for a first contact."""
    shown = " and ".join(map(str, files[:_MOST_LINES])) or "any file"
    return HostKeyRefused(
        _checking(target),
        came_back=f"no key of it is known in {shown}; it presents {_name(key)}{_not_followed(way)}",
        remedy=f"{_LOOK}; when it is the same, answer yes to: {_accept(target)}",
    )


def changed(
    target: SshTarget, way: Way, key: asyncssh.SSHKey, lines: Sequence[Entry], name: str
) -> HostKeyRefused:
    """Return the error for another key than the one that is known: it may be an attack."""
    expected = " or ".join(f"{_known(line)} ({line.place})" for line in lines[:_MOST_LINES])
    for_address = name != _called(way) and f" for its address {name}"
    return HostKeyRefused(
        _checking(target),
        came_back=f"its host key has changed: expected the key {expected}{for_address or ''}, it "
        f"presents {_name(key)}; this may be an attack{_not_followed(way)}",
        remedy=f"was the host reinstalled? If not, something else answers at its address: stop. "
        f"{_LOOK}; when it is the same: {_remove(lines, name)}, and answer yes to: "
        f"{_accept(target)}",
    )


def revoked(target: SshTarget, key: asyncssh.SSHKey | None, where: str) -> HostKeyRefused:
    """Return the error for a key that nobody may use any more."""
    presented = f"it presents {_name(key)}, which" if key else "the certificate that it presents"
    return HostKeyRefused(
        _checking(target),
        came_back=f"{presented} is revoked by {where}: a stolen key may be in use",
        remedy="make a new key on the host: at its console, rm /etc/ssh/ssh_host_*, then "
        "ssh-keygen -A, and restart its SSH server",
    )


def too_short(target: SshTarget, key: asyncssh.SSHKey, bits: int, least: int) -> HostKeyRefused:
    """Return the error for a key below ``RequiredRSASize``."""
    return HostKeyRefused(
        _checking(target),
        came_back=f"it presents {_name(key)} of {bits} bits; RequiredRSASize says {least} at least",
        remedy="make a longer key on the host, or correct RequiredRSASize in ~/.ssh/config",
    )


def unsigned(target: SshTarget, reason: str) -> HostKeyRefused:
    """Return the error for a host that presents no key that could be judged."""
    return HostKeyRefused(
        _checking(target),
        came_back=f"it presents no usable key: {reason}",
        remedy=f"see what it presents: {ssh_command.line(target, 'true', options=['-v'])}",
    )


def switched_off(target: SshTarget, line: str) -> HostKeyRefused:
    """Return the error where no file is named any more."""
    return _before_it_was_asked(
        _checking(target),
        came_back=f"no file of known host keys is left to compare it with: {line}",
        remedy="take that line out for this host, or name `known_hosts` under `ssh` in "
        "cloud.yaml: host keys are always checked",
    )


def not_trusted(target: SshTarget, file: Path, error: NotTrusted) -> HostKeyRefused:
    """Return the error for a file that others may change."""
    return _before_it_was_asked(
        _checking(target),
        came_back=f"the known hosts file {file} is not used: {error}",
        remedy=error.remedy,
    )


def unreadable(target: SshTarget, file: Path, reason: str | None) -> HostKeyRefused:
    """Return the error for a file that is not there, or cannot be read."""
    return _before_it_was_asked(
        _checking(target),
        came_back=f"the known hosts file {file}: {reason or 'it cannot be read'}",
        remedy=f"correct `known_hosts` under `ssh` in cloud.yaml, or make it: compare the host's "
        f"key at its console, and answer yes to: {_accept(target)}",
    )


def _before_it_was_asked(attempted: str, *, came_back: str, remedy: str) -> HostKeyRefused:
    """Return the error for files of this machine: the host has presented nothing yet."""
    found = HostKeyRefused(attempted, came_back=came_back, remedy=remedy)
    found.elsewhere = True
    return found


def _accept(target: SshTarget) -> str:
    """Return the command that shows the key, asks, and notes it where it is looked for."""
    return ssh_command.line(target, "true", options=_ASK)


def _remove(lines: Sequence[Entry], name: str) -> str:
    commands = [
        command("ssh-keygen", "-f", str(line.file), "-R", name)
        if line.is_one_name
        else f"take {line.place} away"
        for line in lines[:_MOST_LINES]
    ]
    return " and ".join(dict.fromkeys(commands))


def _not_followed(way: Way) -> str:
    """Return what ``ssh`` might do otherwise here, by which option."""
    checking = way.option("stricthostkeychecking")
    notes = []
    if checking in {"no", "off", "false", "accept-new"}:
        said = checking if checking == "accept-new" else "no"
        notes.append(f"StrictHostKeyChecking {said}")
    if way.option("knownhostscommand", "none") != "none":
        notes.append("KnownHostsCommand")
    if way.is_on("verifyhostkeydns"):
        notes.append("VerifyHostKeyDNS")
    if way.is_on("nohostauthenticationforlocalhost") and is_this_machine(way.host):
        notes.append("NoHostAuthenticationForLocalhost")
    if not notes:
        return ""
    return f" (Backstay does not follow {' and '.join(notes)}: keys come from files alone)"


def _called(way: Way) -> str:
    if way.alias or way.port == 22:
        return (way.alias or way.host).lower()
    return f"[{way.host}]:{way.port}".lower()


def _checking(target: SshTarget) -> str:
    return f"checking the host key of {target.name} ({target.address})"


def _known(line: Entry) -> str:
    try:
        return _name(asyncssh.import_public_key(written(line.key)))
    except asyncssh.KeyImportError:
        return kind(line.key)


def _name(key: asyncssh.SSHKey) -> str:
    """Return a key as OpenSSH prints it (``ED25519 SHA256:…``)."""
    algorithm = key.get_algorithm()
    name = algorithm.removeprefix("sk-").removeprefix("ssh-").split("-")[0].upper()
    return f"{name} {key.get_fingerprint()}"
