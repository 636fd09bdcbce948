"""Whether the key that a host presents is the one that is known for it, as ``ssh`` judges that.

Always compared with files that were found: no option switches that off, and nothing is added.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import asyncssh

from backstay.errors import HostKeyRefused
from backstay.ownership import NotTrusted
from backstay.transports import host_key_errors as errors
from backstay.transports import ssh_config
from backstay.transports.known_hosts import (
    Entry,
    Files,
    KnownKeys,
    Lookup,
    Verdict,
    called,
    kind,
    written,
)
from backstay.transports.ssh_config import Way
from backstay.transports.targets import SshTarget
from backstay.transports.urls import is_ip_address

_CERTIFIED = "-cert-v01@openssh.com"
_KRL = b"SSHKRL\n\0"
_KRL_BOUND = 5.0
_MOST_BYTES = 16 << 20


class HostKeys:
    """What is known of hosts' keys, each file read once however many hosts are in it."""

    def __init__(self) -> None:
        self._files = Files()

    def of(self, target: SshTarget, way: Way, *, direct: bool) -> "KnownHost":
        """Return what is known of a target; ``direct`` is a connection from this machine.

        A file that cloud.yaml names must be there; of others those that are there are read, as ssh
        does. Raises HostKeyRefused where no file is left, or others may change one.
        """
        own = target.known_hosts
        user = way.user_known_hosts() if own is None else [own]
        # Not Path.is_file, which raises OSError for a name that is too long.
        files = [file for file in (*user, *way.global_known_hosts()) if os.path.isfile(file)]  # noqa: PTH113
        if own is not None and own not in files:
            raise errors.unreadable(target, own, _why_not(own))
        if not files and not user:
            raise errors.switched_off(target, ssh_config.line_of("UserKnownHostsFile"))
        found = [self._keys(target, file) for file in files]
        names = [called(way.alias or way.host, 22 if way.alias else way.port)]
        if way.alias is None and way.port != 22:
            names.append(called(way.host, 22))
        return KnownHost(
            target=target,
            way=way,
            files=[*files, *(user if not files else ())],
            lookup=Lookup(found, names),
            by_address=direct and way.is_on("checkhostip"),
        )

    def _keys(self, target: SshTarget, file: Path) -> KnownKeys:
        try:
            return self._files.keys(file)
        except NotTrusted as error:
            raise errors.not_trusted(target, file, error) from error
        except (OSError, ValueError) as error:
            raise errors.unreadable(target, file, getattr(error, "strerror", None)) from error


@dataclass
class KnownHost:
    """What is known of one host, and what became of the key that it presented."""

    target: SshTarget
    way: Way
    files: Sequence[Path]
    lookup: Lookup
    by_address: bool = False
    presented: asyncssh.SSHKey | None = None
    refusal: HostKeyRefused | None = None
    is_revoked: bool = False

    @property
    def authorities(self) -> Sequence[Entry]:
        """Return the lines of authorities that may sign for the host."""
        return self.lookup.marked("ca")

    def order(self, allowed: Sequence[str], *, hashed: bool, certified: bool) -> list[str]:
        """Return the algorithms to ask the host for, those of known keys first.

        ``hashed`` is whether hashed names are looked through too, ``certified`` whether it may
        present a certificate. What ``HostKeyAlgorithms`` names stays in that order.
        """
        certified = certified and bool(self.authorities)
        offered = [one for one in allowed if certified or not one.endswith(_CERTIFIED)]
        if not self.way.keeps_order:
            name = self.lookup.names[0]
            known = {kind(entry.key) for entry in self.lookup.keys(name, hashed=hashed)}
            offered.sort(key=lambda one: (not one.endswith(_CERTIFIED), _kind_of(one) not in known))
        return offered

    def revoked(self) -> list[asyncssh.SSHKey]:
        """Return the keys that no certificate may be of, or be signed by."""
        found = []
        for entry in self.lookup.marked("revoked"):
            try:
                found.append(asyncssh.import_public_key(written(entry.key)))
            except asyncssh.KeyImportError:
                continue
        return found

    def accepts(self, key: asyncssh.SSHKey, address: str) -> bool:
        """Judge a key that is no certificate; what is wrong is then in ``refusal``."""
        self.presented, self.refusal = key, None
        blob = key.public_data
        if (reason := self._revoked_by_file(blob)) is not None:
            self.refusal, self.is_revoked = errors.revoked(self.target, key, reason), True
            return False
        verdict, lines = self.lookup.judge(blob)
        if verdict is Verdict.KNOWN:
            return self._is_long_enough(key) and self._fits_address(key, blob, address)
        if verdict is Verdict.REVOKED:
            self.refusal = errors.revoked(self.target, key, lines[0].place)
            self.is_revoked = True
        elif verdict is Verdict.CHANGED:
            name = self.lookup.names[0].decode(errors="replace")
            self.refusal = errors.changed(self.target, self.way, key, lines, name)
        else:
            self.refusal = errors.unknown(self.target, self.way, key, self.files)
        return False

    def accepts_authority(self, key: asyncssh.SSHKey) -> bool:
        """Judge the authority that signed the certificate that was presented."""
        blob = key.public_data
        return blob in {entry.key for entry in self.authorities} and (
            self._revoked_by_file(blob) is None
        )

    def _is_long_enough(self, key: asyncssh.SSHKey) -> bool:
        least = self.way.option("requiredrsasize", "0")
        bits = _rsa_bits(key.public_data)
        if bits is None or not least.isdigit() or bits >= int(least):
            return True
        self.refusal = errors.too_short(self.target, key, bits, int(least))
        return False

    def _fits_address(self, key: asyncssh.SSHKey, blob: bytes, address: str) -> bool:
        """Compare with what is known of the address (``CheckHostIP``)."""
        if not self.by_address or not is_ip_address(address) or address == self.way.host:
            return True
        if ip_address(address).is_loopback:
            return True
        name = called(address, self.way.port)
        verdict, lines = Lookup(self.lookup.files, [name]).judge(blob)
        if verdict is not Verdict.CHANGED:
            return True
        self.refusal = errors.changed(self.target, self.way, key, lines, name.decode())
        return False

    def _revoked_by_file(self, blob: bytes) -> str | None:
        """Return what of ``RevokedHostKeys`` is against a key, None where nothing is."""
        file = self.way.file("revokedhostkeys")
        if file is None:
            return None
        try:
            with file.open("rb") as content:
                data = content.read(_MOST_BYTES)
        except OSError as error:
            return f"{file}, which cannot be read: {error.strerror}"
        if data.startswith(_KRL):
            return f"{file}" if _is_in_krl(file, blob) else None
        words = {word for line in data.split(b"\n") for word in line.split()}
        return str(file) if written(blob).split()[1] in words else None


def _is_in_krl(file: Path, blob: bytes) -> bool:
    """Return whether a list of revoked keys holds a key, or cannot be asked: as ``ssh`` has it."""
    with tempfile.NamedTemporaryFile(prefix="backstay-key-") as key:
        key.write(written(blob) + b"\n")
        key.flush()
        try:
            done = subprocess.run(
                ["ssh-keygen", "-Q", "-f", str(file), key.name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_KRL_BOUND,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return True
    return done.returncode != 0


def _kind_of(algorithm: str) -> str:
    plain = algorithm.removesuffix(_CERTIFIED)
    return "ssh-rsa" if plain.startswith("rsa-sha2-") else plain


def _rsa_bits(blob: bytes) -> int | None:
    """Return the length of an RSA key, None for other kinds."""
    if kind(blob) != "ssh-rsa":
        return None
    parts, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        parts.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return int.from_bytes(parts[2], "big").bit_length()


def _why_not(file: Path) -> str:
    if not os.path.lexists(file):
        return "No such file or directory"
    return "it is no regular file"
