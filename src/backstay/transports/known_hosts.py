"""The host keys that are known, and what a host presented instead.

Keys come from files that were found. asyncssh takes ``UserKnownHostsFile none`` for "do not ask":
it is never left to it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import asyncssh

from backstay.errors import HostKeyRefused
from backstay.ownership import NotTrusted, open_own
from backstay.transports import ssh_config
from backstay.transports.ssh_config import Way
from backstay.transports.targets import SshTarget
from backstay.transports.urls import is_ip_address

_MOST_BYTES = 64 << 20
DEFAULT_FILE = Path("~/.ssh/known_hosts")


class KnownHosts:
    """Known host keys, each file read once however many hosts are in it."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, ...], asyncssh.SSHKnownHosts] = {}

    def files_of(self, target: SshTarget, way: Way) -> list[Path]:
        """Return the files that the target's key is looked up in; never none.

        Raises HostKeyRefused where ``~/.ssh/config`` says that there is no such file.
        """
        if target.known_hosts is not None:
            return [target.known_hosts]
        if way.blank:
            line = ssh_config.line_of("UserKnownHostsFile")
            raise HostKeyRefused(
                _checking(target),
                came_back=f"no file of known host keys is left to compare it with: {line}",
                remedy="take that line out for this host, or name `known_hosts` under `ssh` in "
                "cloud.yaml: host keys are always checked",
            )
        return list(way.known_hosts) or [DEFAULT_FILE.expanduser()]

    def keys_for(self, target: SshTarget, way: Way) -> asyncssh.SSHKnownHosts:
        """Return the keys to compare a target's with, which may be none.

        A file that cloud.yaml names must be there; of others those that are there are read, as ssh
        does. Raises HostKeyRefused.
        """
        files = self.files_of(target, way)
        if target.known_hosts is None:
            # Not Path.is_file, which raises OSError for a name that is too long.
            files = [file for file in files if os.path.isfile(file)]  # noqa: PTH113
        return self._load(target, files)

    def expected(self, target: SshTarget, way: Way) -> Sequence[str]:
        """Return the fingerprints (``SHA256:…``) that are known for the target."""
        try:
            known = self.keys_for(target, way)
        except HostKeyRefused:
            return []
        port = way.port if way.port != 22 else None
        address = target.address if is_ip_address(target.address) else ""
        keys = known.match(way.name, address, port)[0]
        return [f"{_name(key)} {key.get_fingerprint()}" for key in keys]

    def _load(self, target: SshTarget, files: Sequence[Path]) -> asyncssh.SSHKnownHosts:
        if tuple(files) not in self._read:
            known = asyncssh.SSHKnownHosts()
            for file in files:
                _add(known, target, file)
            self._read[tuple(files)] = known
        return self._read[tuple(files)]


def _add(known: asyncssh.SSHKnownHosts, target: SshTarget, file: Path) -> None:
    """Read a file of known keys. Raises HostKeyRefused."""
    try:
        with open_own(file).file as content:
            known.load(content.read(_MOST_BYTES).decode())
    except NotTrusted as error:
        raise HostKeyRefused(
            _checking(target),
            came_back=f"the known hosts file {file} is not used: {error}",
            remedy=error.remedy,
        ) from error
    except OSError as error:
        raise HostKeyRefused(
            _checking(target),
            came_back=f"the known hosts file {file}: {error.strerror}",
            remedy=f"write the host's key into it: {scan(target)} >> {file}, and compare "
            "its fingerprint at the host's console first",
        ) from error
    except ValueError as error:
        raise HostKeyRefused(
            _checking(target),
            came_back=f"the known hosts file {file} is damaged: {error}",
            remedy=f"correct {file}",
        ) from error


def scan(target: SshTarget) -> str:
    """Return the command that prints the keys which the host presents."""
    port = f"-p {target.port} " if target.port not in (None, 22) else ""
    return f"ssh-keyscan {port}{target.address}"


def refused(
    target: SshTarget, presented: asyncssh.SSHKey | None, expected: Sequence[str], file: Path
) -> HostKeyRefused:
    """Return the error for a presented key that is not a known one, or where none is known."""
    shown = f"{_name(presented)} {presented.get_fingerprint()}" if presented else "no usable key"
    look = (
        "at the host's console, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows the true one"
    )
    if not expected:
        return HostKeyRefused(
            _checking(target),
            came_back=f"no key of it is known in {file}; it presents {shown}",
            remedy=f"{look}; when it is the same: {scan(target)} >> {file}",
        )
    port = target.port if target.port not in (None, 22) else None
    entry = f"'[{target.address}]:{port}'" if port else target.address
    return HostKeyRefused(
        _checking(target),
        came_back=f"expected the key {' or '.join(expected)}, it presents {shown}",
        remedy=f"was the host reinstalled? If not, something else answers at its address: stop. "
        f"{look}; when it is the same: ssh-keygen -f {file} -R {entry} and "
        f"{scan(target)} >> {file}",
    )


def _checking(target: SshTarget) -> str:
    return f"checking the host key of {target.name} ({target.address})"


def _name(key: asyncssh.SSHKey) -> str:
    """Return the kind of a key as OpenSSH prints it (``ED25519``)."""
    algorithm = key.get_algorithm()
    return algorithm.removeprefix("ssh-").split("-")[0].upper()
