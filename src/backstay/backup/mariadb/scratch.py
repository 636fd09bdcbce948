"""A MariaDB server of our own, thrown away afterwards: what a backup is restored into.

It has its own data directory and socket, no network, and no grants to ask for.
https://mariadb.com/kb/en/mariadbd-options/
"""

import asyncio
import contextlib
import getpass
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from backstay.backup.mariadb import INSTALL
from backstay.backup.mariadb.replay import Replayed, replay
from backstay.errors import BackupError
from backstay.transports.programs import end_well, failed, found, kill, run, start

START_BOUND = 120.0
STOP_BOUND = 300.0
_PROGRAMS = (
    "mariadbd",
    "mbstream",
    "zstd",
    "mariadb",
    "mariadb-check",
    "mariadb-dump",
    "mariadb-install-db",
    "mariadb-binlog",
    "setpriv",
)
# -f passes on what is not compressed.
_UNPACK = 'zstd -q -d -c -f | "$0" -x -C "$1"'
_PREPARE = ("mariadb-backup", "mariabackup")


def missing() -> list[str]:
    """Return the programs that this machine lacks for it."""
    lacking = [name for name in _PROGRAMS if found(name) is None]
    return lacking + ([] if any(map(found, _PREPARE)) else [_PREPARE[0]])


class Scratch:
    """A data directory that is filled from a stream, prepared, and served.

    What one that was killed has left in its folder is removed first.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.data = folder / "data"
        # A socket's path may have 107 bytes; data directories have longer ones.
        self._short = Path(tempfile.mkdtemp(prefix="backstay-"))
        self.socket = self._short / "s"
        self._server: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def filling(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Give the writer that takes an mbstream, compressed by zstd or not.

        Raises BackupError where it is torn.
        """
        self.data.mkdir(parents=True, mode=0o700)
        process = await start(
            "bash",
            "-o",
            "pipefail",
            "-c",
            _UNPACK,
            found("mbstream") or "mbstream",
            str(self.data),
            stdin=asyncio.subprocess.PIPE,
            remedy=INSTALL,
        )
        async with _fed(process, "unpacking the backup of the database") as writer:
            yield writer

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Make an empty data directory, serve it, and give the writer that takes a dump.

        Users and grants are taken too: the server that loads them asks for grants, as one that
        does not can keep none; afterwards it has ended. Raises BackupError at the first statement
        that fails.
        """
        self.data.mkdir(parents=True, mode=0o700)
        user = getpass.getuser()
        await run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.data}",
            f"--user={user}",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={user}",
            "--skip-name-resolve",
            "--skip-test-db",
            doing="making an empty data directory",
            bound=START_BOUND,
            remedy=INSTALL,
        )
        await self._serve("--max-allowed-packet=1G", "--innodb-buffer-pool-size=512M")
        process = await start(
            "mariadb",
            "--no-defaults",
            f"--socket={self.socket}",
            f"--user={user}",
            "--max-allowed-packet=1G",
            stdin=asyncio.subprocess.PIPE,
            remedy=INSTALL,
        )
        async with _fed(process, "loading the dump of the databases") as writer:
            yield writer
        await self.stop()

    async def prepare(self, *, bound: float) -> None:
        """Make the copied files consistent, as of the end of the backup. Raises BackupError."""
        program = next(name for name in _PREPARE if found(name))
        await run(
            program,
            "--prepare",
            f"--target-dir={self.data}",
            "--use-memory=256M",
            doing="preparing the backup of the database",
            bound=bound,
            remedy=INSTALL,
        )

    async def serve(self) -> None:
        """Start the server and wait until it answers. Raises BackupError."""
        await self._serve("--skip-grant-tables", "--innodb-buffer-pool-size=128M")

    async def _serve(self, *options: str) -> None:
        log = self.folder / "server.log"
        # It ends with this process: nothing is left behind where that is killed. setpriv(1)
        self._server = await start(
            "setpriv",
            "--pdeathsig=KILL",
            str(found("mariadbd")),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={self._short / 'pid'}",
            f"--log-error={log}",
            "--skip-networking",
            "--skip-log-bin",
            "--max-allowed-packet=1G",
            "--innodb-flush-log-at-trx-commit=0",
            f"--user={getpass.getuser()}",
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            remedy=INSTALL,
        )
        try:
            async with asyncio.timeout(START_BOUND):
                while not await self._answers():
                    if self._server.returncode is not None:
                        raise failed("starting the scratch server", _last(log))
                    await asyncio.sleep(0.2)
        except TimeoutError:
            came_back = f"it did not answer within {START_BOUND:g} s: {_last(log)}"
            raise failed("starting the scratch server", came_back) from None

    async def stop(self) -> None:
        """End the server in good order: its data directory is whole. Raises BackupError."""
        server, self._server = self._server, None
        if server is None:
            return
        server.terminate()
        try:
            async with asyncio.timeout(STOP_BOUND):
                status = await server.wait()
        except TimeoutError:
            raise failed(
                "stopping the scratch server", f"it still runs after {STOP_BOUND:g} s"
            ) from None
        finally:
            await kill(server)
        if status != 0:
            raise failed("stopping the scratch server", _last(self.folder / "server.log"))

    async def query(self, text: str, *, bound: float = 300.0) -> list[str]:
        """Return the lines of the answer. Raises BackupError."""
        return (
            await run(
                "mariadb",
                "--no-defaults",
                f"--socket={self.socket}",
                "--batch",
                "--skip-column-names",
                doing="asking the restored database",
                bound=bound,
                given=text,
                remedy=INSTALL,
            )
        ).splitlines()

    async def check_tables(self, databases: Sequence[str], *, bound: float) -> list[str]:
        """Return what CHECK TABLE says of tables that are not well."""
        output = await run(
            "mariadb-check",
            f"--socket={self.socket}",
            "--check",
            "--databases",
            *databases,
            doing="checking the restored tables",
            bound=bound,
            remedy=INSTALL,
        )
        return [line for line in output.splitlines() if not line.endswith("OK")]

    async def dump(
        self,
        databases: Sequence[str],
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
        single: bool = False,
    ) -> None:
        """Hand on a portable dump of the databases. Raises BackupError where it is torn.

        Of a ``single`` one without its name: it can be loaded under another.
        """
        doing = "dumping the restored databases"
        process = await start(
            "mariadb-dump",
            f"--socket={self.socket}",
            "--single-transaction",
            "--quick",
            "--routines",
            "--events",
            "--triggers",
            "--hex-blob",
            *([] if single else ["--databases"]),
            *databases,
            stdin=asyncio.subprocess.PIPE,
            remedy=INSTALL,
        )
        assert process.stdout is not None  # noqa: S101 - it was asked for
        last = b""
        try:
            async with asyncio.timeout(silence) as limit:
                while data := await process.stdout.read(1 << 18):
                    await receive(data)
                    last = (last + data)[-200:]
                    limit.reschedule(asyncio.get_running_loop().time() + silence)
            await end_well(process, doing)
        except TimeoutError:
            raise failed(doing, f"no output for {silence:g} s") from None
        finally:
            await kill(process)
        if b"-- Dump completed" not in last:
            raise failed(doing, "its last line is missing")

    async def replay(
        self, files: Sequence[Path], *, start: int, until: datetime | None, bound: float
    ) -> Replayed:
        """Replay binary log files, the first from ``start``: as ``transports.replay.replay``.

        The server is started anew afterwards: once it has read its grants it asks for logins.
        """
        played = await replay(self.socket, files, start=start, until=until, bound=bound)
        await self.stop()
        await self.serve()
        return played

    def release(self) -> None:
        """Leave the data directory where it is, for others to use; the server has ended."""
        shutil.rmtree(self._short, ignore_errors=True)

    async def close(self) -> None:
        """End the server and remove everything."""
        if self._server is not None:
            await kill(self._server)
        shutil.rmtree(self._short, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _answers(self) -> bool:
        with contextlib.suppress(BackupError):
            await self.query("SELECT 1", bound=10)
            return True
        return False


async def server_version() -> str:
    """Return the version of this machine's server (``10.11.6-MariaDB``). Raises BackupError."""
    output = await run(
        "mariadbd", "--version", doing="asking for this server's version", bound=20, remedy=INSTALL
    )
    return output.partition("Ver ")[2].partition(" ")[0]


@asynccontextmanager
async def _fed(
    process: asyncio.subprocess.Process, doing: str
) -> AsyncIterator[asyncio.StreamWriter]:
    """Give a process's input; when the block ends it must have taken all of it, and well."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        try:
            yield process.stdin
        except (BrokenPipeError, ConnectionResetError):
            await end_well(process, doing)  # its own last words say more
            raise failed(doing, "it ended before it received everything") from None
        await end_well(process, doing)
    finally:
        process.stdin.close()  # what a shell has started is not killed with it: its input ends
        await kill(process)


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    wrong = [line for line in lines if "[ERROR]" in line]
    return (wrong or lines or ["it printed nothing"])[-1][:300]
