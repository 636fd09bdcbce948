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

from backstay.errors import BackupError
from backstay.transports.programs import end_well, failed, found, kill, run, start
from backstay.transports.replay import Replayed, replay

START_BOUND = 120.0
STOP_BOUND = 120.0
_PROGRAMS = (
    "mariadbd", "mbstream", "mariadb", "mariadb-check", "mariadb-dump", "mariadb-binlog",
)  # fmt: skip
_PREPARE = ("mariadb-backup", "mariabackup")


def missing() -> list[str]:
    """Return the programs that this machine lacks for it."""
    lacking = [name for name in _PROGRAMS if found(name) is None]
    return lacking + ([] if any(map(found, _PREPARE)) else [_PREPARE[0]])


class Scratch:
    """A data directory that is filled from a stream, prepared, and served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        # A socket's path may have 107 bytes; data directories have longer ones.
        self._short = Path(tempfile.mkdtemp(prefix="backstay-"))
        self.socket = self._short / "s"
        self._server: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def filling(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Give the writer that takes an mbstream. Raises BackupError where it is torn."""
        self.data.mkdir(parents=True, mode=0o700)
        process = await start("mbstream", "-x", "-C", str(self.data), stdin=asyncio.subprocess.PIPE)
        assert process.stdin is not None  # noqa: S101 - it was asked for
        try:
            yield process.stdin
            await end_well(process, "unpacking the backup of the database")
        finally:
            await kill(process)

    async def prepare(self, *, bound: float) -> None:
        """Make the copied files consistent, as of the end of the backup. Raises BackupError."""
        program = next(name for name in _PREPARE if found(name))
        await run(
            program, "--prepare", f"--target-dir={self.data}", "--use-memory=256M",
            doing="preparing the backup of the database", bound=bound,
        )  # fmt: skip

    async def serve(self) -> None:
        """Start the server and wait until it answers. Raises BackupError."""
        log = self.folder / "server.log"
        self._server = await start(
            "mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}",
            f"--pid-file={self._short / 'pid'}", f"--log-error={log}", "--skip-networking",
            "--skip-grant-tables", "--skip-log-bin", "--innodb-buffer-pool-size=128M",
            "--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=1G",
            f"--user={getpass.getuser()}",
            stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_BOUND):
                while not await self._answers():
                    if self._server.returncode is not None:
                        raise failed("starting the scratch server", _last(log))
                    await asyncio.sleep(0.2)
        except TimeoutError:
            came_back = f"it does not answer after {START_BOUND:g} s: {_last(log)}"
            raise failed("starting the scratch server", came_back) from None

    async def query(self, text: str, *, bound: float = 300.0) -> list[str]:
        """Return the lines of the answer. Raises BackupError."""
        return (
            await run(
                "mariadb", f"--socket={self.socket}", "--batch", "--skip-column-names",
                doing="asking the restored database", bound=bound, given=text,
            )
        ).splitlines()  # fmt: skip

    async def check_tables(self, databases: Sequence[str], *, bound: float) -> list[str]:
        """Return what CHECK TABLE says of tables that are not well."""
        output = await run(
            "mariadb-check", f"--socket={self.socket}", "--check", "--databases", *databases,
            doing="checking the restored tables", bound=bound,
        )  # fmt: skip
        return [line for line in output.splitlines() if not line.endswith("OK")]

    async def dump(
        self,
        databases: Sequence[str],
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
    ) -> None:
        """Hand on a portable dump of the databases. Raises BackupError where it is torn."""
        doing = "dumping the restored databases"
        process = await start(
            "mariadb-dump", f"--socket={self.socket}", "--single-transaction", "--quick",
            "--routines", "--events", "--triggers", "--hex-blob", "--databases", *databases,
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
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
            raise failed(doing, f"nothing came for {silence:g} s") from None
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
        await self._stop()
        await self.serve()
        return played

    async def close(self) -> None:
        """End the server and remove everything."""
        if self._server is not None:
            await kill(self._server)
        shutil.rmtree(self._short, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _stop(self) -> None:
        if self._server is None:
            return
        self._server.terminate()
        try:
            async with asyncio.timeout(STOP_BOUND):
                await self._server.wait()
        except TimeoutError:
            came_back = f"it has not ended after {STOP_BOUND:g} s"
            raise failed("stopping the scratch server", came_back) from None

    async def _answers(self) -> bool:
        with contextlib.suppress(BackupError):
            await self.query("SELECT 1", bound=10)
            return True
        return False


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    wrong = [line for line in lines if "[ERROR]" in line]
    return (wrong or lines or ["it said nothing"])[-1][:300]
