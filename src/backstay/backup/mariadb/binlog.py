"""A MariaDB server's binary log, received as it is written.

https://mariadb.com/kb/en/mariadb-binlog-options/. With ``--raw --stop-never`` every event is in the
file as soon as it has come (tried with 10.11): nothing has to be flushed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from backstay.backup.mariadb import INSTALL
from backstay.errors import BackupError
from backstay.transports.programs import kill, start, words

_RECEIVING = "receiving the binary log"
_ASKING = "asking for the binary log's position"
_END = "--end--"
_STOP_BOUND = 5.0


class Receiver:
    """The program that receives; it never ends by itself while the server is there."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Return its process."""
        return self._process.pid

    async def refuse_end(self) -> None:
        """Raise BackupError with its last words where it has ended."""
        if self._process.returncode is None:
            return
        _, errors = await self._process.communicate()
        raise _broken(_RECEIVING, words(errors) or "it ended without a message")


@asynccontextmanager
async def receiving(
    socket: Path, first: str, folder: Path, *, number: int
) -> AsyncIterator[Receiver]:
    """Receive the server's files from ``first`` on into ``folder``, each from its beginning.

    ``number`` is the server number that it presents itself by, as a replica does: the server ends
    what an earlier one of the same number still receives. Raises BackupError.
    """
    process = await start(
        "mariadb-binlog",
        "--no-defaults",
        "--protocol=socket",
        f"--socket={socket}",
        "--user=root",
        "--read-from-remote-server",
        "--raw",
        "--stop-never",
        f"--stop-never-slave-server-id={number}",
        f"--result-file={folder}/",
        first,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        remedy=INSTALL,
    )
    try:
        yield Receiver(process)
    finally:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(_STOP_BOUND):
                await process.wait()
        await kill(process)


class Asker:
    """A session that is kept open for one question, asked again and again."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def sizes(self, *, bound: float) -> list[tuple[str, int]]:
        """Return name and size of each of the server's files, the one being written last.

        ``bound`` is in seconds. Raises BackupError.
        """
        process = self._process
        assert process.stdin is not None  # noqa: S101 - they were asked for
        assert process.stdout is not None  # noqa: S101
        found = []
        try:
            async with asyncio.timeout(bound):
                process.stdin.write(f"SHOW BINARY LOGS; SELECT '{_END}';\n".encode())
                await process.stdin.drain()
                while (line := (await process.stdout.readline()).decode().rstrip("\n")) != _END:
                    if not line:
                        _, errors = await process.communicate()
                        raise _broken(_ASKING, words(errors) or "the connection was closed")
                    name, size = line.split("\t")[:2]
                    found.append((name, int(size)))
        except TimeoutError:
            raise _broken(_ASKING, f"no answer came within {bound:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            raise _broken(_ASKING, "the connection was lost") from None
        return found


@asynccontextmanager
async def asking(socket: Path) -> AsyncIterator[Asker]:
    """Open a session as the server's root. Raises BackupError."""
    process = await start(
        "mariadb",
        "--no-defaults",
        "--protocol=socket",
        f"--socket={socket}",
        "--user=root",
        "--batch",
        "--skip-column-names",
        "--unbuffered",
        "--skip-reconnect",
        stdin=asyncio.subprocess.PIPE,
        remedy=INSTALL,
    )
    try:
        yield Asker(process)
    finally:
        await kill(process)


def _broken(attempted: str, came_back: str) -> BackupError:
    refused = "Access denied" in came_back
    return BackupError(
        attempted,
        came_back=came_back,
        remedy="let Backstay log in to the host as root: MariaDB's root account is let in by its "
        "socket"
        if refused
        else "is MariaDB running on the host? The stream tries again automatically",
    )
