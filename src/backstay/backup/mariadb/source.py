"""The server whose binary log is received: where it is, what it has, the ways to it."""

import socket
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backstay.access.onhost_relay import relay
from backstay.access.shipping import as_answer, program, reading
from backstay.backup.catalogue import Backup
from backstay.backup.mariadb import onhost_database
from backstay.backup.mariadb.binlog import Asker, Receiver, asking, log_name, receiving
from backstay.backup.mariadb.binlog_file import identity_of
from backstay.backup.mariadb.logs import Incarnation
from backstay.errors import BackupError
from backstay.transports.targets import Answer, SshTarget

QUESTION_BOUND = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFile:
    """A binary log file of the server's."""

    name: str
    size: int
    identity: str


@dataclass(frozen=True)
class _Answer:
    """What ``onhost_database.binary_logs`` returns."""

    socket: str
    files: list[tuple[str, int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLogs:
    """Where the server's socket is on its host, and its files in order."""

    socket: str
    files: Sequence[ServerFile]


class Source(Protocol):
    """A server to receive from."""

    async def server_logs(self) -> ServerLogs:
        """Ask what it has. Raises BackstayError."""

    def receiving(
        self, socket: str, first: str, folder: Path
    ) -> AbstractAsyncContextManager[tuple[Asker, Receiver]]:
        """Receive its files from ``first`` on into ``folder``. Raises BackstayError."""


class Shell(Protocol):
    """The ways to a host (``transports.ssh``)."""

    async def answer(self, target: SshTarget, script: str, *, bound: float) -> Answer:
        """Run a script on a host. Raises HostError."""

    def forward(
        self, target: SshTarget, script: str, here: Path
    ) -> AbstractAsyncContextManager[Path]:
        """Lead a socket of this machine's to a script on the host. Raises HostError."""

    def drop(self, target: SshTarget) -> None:
        """Close the connection to a host."""


class SshSource:
    """A host's server, asked by its socket through SSH.

    MariaDB lets root of the host in by that socket, which is who connects to it (``relay``),
    whoever has logged in: no password is needed, and no account is made.
    """

    def __init__(self, shell: Shell, target: SshTarget) -> None:
        self._shell = shell
        self._target = target
        # As a replica's: of its own for every host that streams go to.
        name = f"backstay {socket.gethostname()} {target.name}"
        self._number = zlib.crc32(name.encode()) | 1 << 31

    async def server_logs(self) -> ServerLogs:
        """Ask what it has. Raises BackstayError."""
        script = program(onhost_database.binary_logs)
        answer = await self._shell.answer(self._target, script, bound=QUESTION_BOUND)
        read = as_answer(_Answer, answer, host=self._target.name)
        asking_for = f"asking MariaDB on {self._target.name} for its binary log"
        files = [
            ServerFile(name=log_name(name, asking_for), size=size, identity=identity)
            for name, size, identity in read.files
        ]
        if not files:
            raise BackupError(
                asking_for,
                came_back="it writes none",
                remedy="set log_bin in its configuration, and restart it in a maintenance window",
            )
        return ServerLogs(socket=read.socket, files=files)

    @asynccontextmanager
    async def receiving(
        self, socket: str, first: str, folder: Path
    ) -> AsyncIterator[tuple[Asker, Receiver]]:
        """Receive its files from ``first`` on into ``folder``. Raises BackstayError."""
        try:
            # A socket's path may have 107 bytes; folders have longer ones.
            with tempfile.TemporaryDirectory(prefix="backstay-") as short:
                script = reading(relay, socket)
                way = self._shell.forward(self._target, script, Path(short) / "s")
                async with way as here, asking(here) as asker:
                    await asker.sizes(bound=QUESTION_BOUND)
                    async with receiving(here, first, folder, number=self._number) as receiver:
                        yield asker, receiver
        except BaseException:
            self._shell.drop(self._target)
            raise


def next_file(incarnation: Incarnation | None, server: Sequence[ServerFile]) -> str | None:
    """Return the file with which an incarnation that is kept here goes on.

    That is the newest that is here, again from its beginning; or the next, where it is here whole.
    None where the server has it no more, or another, or less of it than is here: what it writes is
    then of a new incarnation.
    """
    pieces = incarnation.pieces() if incarnation is not None else []
    if not pieces:
        return None
    last = pieces[-1]
    for file, following in zip(server, [*server[1:], None], strict=True):
        if file.name == last.name:
            size = last.stat().st_size
            if file.identity != identity_of(last) or file.size < size:
                return None
            return following.name if following is not None and file.size == size else file.name
    return None


def first_file(server: Sequence[ServerFile], backups: Sequence[Backup]) -> str:
    """Return the file with which a new incarnation begins.

    That is the one of the oldest backup that the server still has, else the one that it writes.
    """
    identities = {file.name: file.identity for file in server}
    for backup in sorted(backups, key=lambda backup: backup.taken_at):
        name = next(iter(backup.facts.get("position") or ()), None)
        if name in identities and backup.facts.get("logs", {}).get(name) == identities[name]:
            return str(name)
    return server[-1].name
