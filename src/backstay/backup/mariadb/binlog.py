"""A MariaDB server's binary log, received as it is written.

The server is a host's: the programs that it talks to run in a sandbox, with a socket that leads to
it, and write to one folder. What they put there may have any name, and be no file.

https://mariadb.com/kb/en/mariadb-binlog-options/. With ``--raw --stop-never`` every event is in the
file as soon as it has come (tried with 10.11): nothing has to be flushed.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from backstay.answers import clean
from backstay.backup.mariadb import INSTALL
from backstay.backup.mariadb.client import CLIENT
from backstay.backup.mariadb.sql import is_log_name
from backstay.errors import BackupError
from backstay.transports.namespaces import DATA, EMPTY
from backstay.transports.programs import words
from backstay.transports.sandbox import Program, sandbox

_RECEIVING = "receiving the binary log"
_ASKING = "asking for the binary log's position"
_END = "--end--"
_SOCKET = "/server"
_MOST_FILES = 100_000


class Receiver:
    """The program that receives; it never ends by itself while the server is there."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def pid(self) -> int:
        """Return the process that it ends with."""
        return self._program.pid

    async def refuse_end(self) -> None:
        """Raise BackupError with its last words where it has ended."""
        if self._program.returncode is None:
            return
        last = clean(words(await self._program.errors()))
        raise _broken(_RECEIVING, last or "it ended without a message")


@asynccontextmanager
async def receiving(
    socket: Path, first: str, folder: Path, *, number: int
) -> AsyncIterator[Receiver]:
    """Receive the server's files from ``first`` on into ``folder``, each from its beginning.

    ``socket`` leads to the server; it is in a folder that is closed to others. ``number`` is the
    server number that it presents itself by, as a replica does: the server ends what an earlier one
    of the same number still receives. Raises BackupError.
    """
    program = await sandbox(folder, sockets={_SOCKET: socket}).start(
        "mariadb-binlog",
        "--no-defaults",
        f"--plugin-dir={EMPTY}",
        "--protocol=socket",
        f"--socket={_SOCKET}",
        "--user=root",
        "--read-from-remote-server",
        "--raw",
        "--stop-never",
        f"--stop-never-slave-server-id={number}",
        f"--result-file={DATA}/",
        "--",
        log_name(first, _RECEIVING),
        stdin=asyncio.subprocess.DEVNULL,
        remedy=INSTALL,
    )
    try:
        yield Receiver(program)
    finally:
        await program.kill()  # each event is in the file as soon as it has come


def log_name(name: str, attempted: str) -> str:
    """Return a name that a server gives its binary log file. Raises BackupError for any other."""
    if not is_log_name(name):
        raise BackupError(
            attempted,
            came_back=f"the server names a file {name[:80]!a}",
            remedy="this is no name of a binary log file: find out what answers in MariaDB's place",
        )
    return name


class Asker:
    """A session that is kept open for one question, asked again and again."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def sizes(self, *, bound: float) -> list[tuple[str, int]]:
        """Return name and size of each of the server's files, the one being written last.

        ``bound`` is in seconds. Raises BackupError.
        """
        found: list[tuple[str, int]] = []
        try:
            async with asyncio.timeout(bound):
                self._program.stdin.write(f"SHOW BINARY LOGS; SELECT '{_END}';\n".encode())
                await self._program.stdin.drain()
                while (line := await self._line()) != _END:
                    name, _, rest = line.partition("\t")
                    size = rest.partition("\t")[0]
                    if not re.fullmatch("[0-9]{1,18}", size) or len(found) > _MOST_FILES:
                        raise _broken(_ASKING, f"the server answered {clean(line, longest=80)!r}")
                    found.append((log_name(name, _ASKING), int(size)))
        except TimeoutError:
            raise _broken(_ASKING, f"no answer came within {bound:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            raise _broken(_ASKING, "the connection was lost") from None
        return found

    async def _line(self) -> str:
        """Return the next line of the answer. Raises BackupError where there is none."""
        try:
            line = await self._program.stdout.readline()
        except ValueError:  # longer than the stream's limit
            raise _broken(_ASKING, "the server answered a line without end") from None
        if not line:
            await self._program.kill()
            last = clean(words(await self._program.errors()))
            raise _broken(_ASKING, last or "the connection was closed")
        return line.decode(errors="replace").rstrip("\n")


@asynccontextmanager
async def asking(socket: Path) -> AsyncIterator[Asker]:
    """Open a session as the server's root; ``socket`` as ``receiving`` has it.

    Raises BackupError.
    """
    program = await sandbox(sockets={_SOCKET: socket}).start(
        "mariadb",
        *CLIENT,
        "--protocol=socket",
        f"--socket={_SOCKET}",
        "--user=root",
        "--batch",
        "--skip-column-names",
        "--unbuffered",
        "--skip-reconnect",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        remedy=INSTALL,
    )
    try:
        yield Asker(program)
    finally:
        await program.kill()


def _broken(attempted: str, came_back: str) -> BackupError:
    refused = "Access denied" in came_back
    return BackupError(
        attempted,
        came_back=came_back,
        remedy="let MariaDB's root account in by its socket, as Debian does: ALTER USER "
        "root@localhost IDENTIFIED VIA unix_socket"
        if refused
        else "is MariaDB running on the host? The stream tries again automatically",
    )
