"""The host keys that are known, and what a host presented instead."""

from collections.abc import Sequence
from pathlib import Path

import asyncssh

from backstay.errors import HostKeyRefused
from backstay.transports.targets import SshTarget

DEFAULT_FILE = Path("~/.ssh/known_hosts")


class KnownHosts:
    """Known host keys, each file read once however many hosts are in it."""

    def __init__(self) -> None:
        self._read: dict[Path, asyncssh.SSHKnownHosts] = {}

    def file_of(self, target: SshTarget) -> Path:
        """Return the file that the target's key is looked up in."""
        return target.known_hosts or DEFAULT_FILE.expanduser()

    def given(self, target: SshTarget) -> asyncssh.SSHKnownHosts | None:
        """Return the keys of the file that cloud.yaml names; None where it names none.

        Raises HostKeyRefused where the file cannot be read: no key is known then.
        """
        if target.known_hosts is None:
            return None
        return self._load(target, target.known_hosts)

    def expected(self, target: SshTarget) -> Sequence[str]:
        """Return the fingerprints (``SHA256:…``) that are known for the target."""
        try:
            known = self._load(target, self.file_of(target))
        except HostKeyRefused:
            return []
        port = target.port if target.port not in (None, 22) else None
        keys = known.match(target.address, target.address, port)[0]
        return [f"{_name(key)} {key.get_fingerprint()}" for key in keys]

    def _load(self, target: SshTarget, path: Path) -> asyncssh.SSHKnownHosts:
        if path not in self._read:
            try:
                self._read[path] = asyncssh.import_known_hosts(path.read_text(encoding="utf-8"))
            except OSError as error:
                raise HostKeyRefused(
                    f"checking the host key of {target.name} ({target.address})",
                    came_back=f"the known hosts file {path}: {error.strerror}",
                    remedy=f"write the host's key into it: {scan(target)} >> {path}, and compare "
                    "its fingerprint at the host's console first",
                ) from error
            except ValueError as error:
                raise HostKeyRefused(
                    f"checking the host key of {target.name} ({target.address})",
                    came_back=f"the known hosts file {path} is damaged: {error}",
                    remedy=f"correct {path}",
                ) from error
        return self._read[path]


def scan(target: SshTarget) -> str:
    """Return the command that prints the keys which the host presents."""
    port = f"-p {target.port} " if target.port not in (None, 22) else ""
    return f"ssh-keyscan {port}{target.address}"


def refused(
    target: SshTarget, presented: asyncssh.SSHKey | None, expected: Sequence[str], file: Path
) -> HostKeyRefused:
    """Return the error for a presented key that is not a known one, or where none is known."""
    attempted = f"checking the host key of {target.name} ({target.address})"
    shown = f"{_name(presented)} {presented.get_fingerprint()}" if presented else "no usable key"
    look = (
        "at the host's console, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows the true one"
    )
    if not expected:
        return HostKeyRefused(
            attempted,
            came_back=f"no key of it is known in {file}; it presents {shown}",
            remedy=f"{look}; when it is the same: {scan(target)} >> {file}",
        )
    port = target.port if target.port not in (None, 22) else None
    entry = f"'[{target.address}]:{port}'" if port else target.address
    return HostKeyRefused(
        attempted,
        came_back=f"expected the key {' or '.join(expected)}, it presents {shown}",
        remedy=f"was the host reinstalled? If not, something else answers at its address: stop. "
        f"{look}; when it is the same: ssh-keygen -f {file} -R {entry} and "
        f"{scan(target)} >> {file}",
    )


def _name(key: asyncssh.SSHKey) -> str:
    """Return the kind of a key as OpenSSH prints it (``ED25519``)."""
    algorithm = key.get_algorithm()
    return algorithm.removeprefix("ssh-").split("-")[0].upper()
