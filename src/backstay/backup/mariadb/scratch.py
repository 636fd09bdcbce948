"""A MariaDB server of our own, thrown away afterwards: what a backup is restored into.

It has its own data directory and socket, no network, and no grants to ask for. What is in a backup
came from a host, and such a server, its client and the programs that fill it do much of what they
find there: they run in a sandbox, load no plugins and read no files.
https://mariadb.com/kb/en/mariadbd-options/
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from backstay.answers import clean
from backstay.backup.mariadb import INSTALL
from backstay.backup.mariadb.client import CLIENT
from backstay.backup.mariadb.replay import Replayed, replay
from backstay.backup.mariadb.settings import SETTINGS_FILE, plain_settings
from backstay.backup.mariadb.sql import UnusualName, identifier
from backstay.beneath import Folder
from backstay.errors import BackupError
from backstay.transports.namespaces import DATA, EMPTY
from backstay.transports.programs import failed, found, not_done, run
from backstay.transports.sandbox import Program, Sandbox, sandbox

START_BOUND = 120.0
STOP_BOUND = 300.0
USER = "backstay"
"""What the user of a sandbox is called in it."""
_SETTINGS_MOST, _LOG_MOST = 1 << 20, 1 << 18
_PROGRAMS = (
    "mariadbd",
    "mbstream",
    "zstd",
    "mariadb",
    "mariadb-check",
    "mariadb-dump",
    "mariadb-install-db",
    "mariadb-binlog",
)
# -f passes on what is not compressed.
_UNPACK = f"zstd -q -d -c -f | mbstream -x -C {DATA}"
_PREPARE = ("mariadb-backup", "mariabackup")
_SERVER = "/server"
_SOCKET, _LOG = f"{_SERVER}/s", "server.log"


def missing() -> list[str]:
    """Return the programs that this machine lacks for it."""
    lacking = [name for name in _PROGRAMS if found(name) is None]
    return lacking + ([] if any(map(found, _PREPARE)) else [_PREPARE[0]])


class Scratch:
    """A data directory that is filled from a stream, prepared, and served.

    What one that was killed has left in its folder is removed first.
    """

    def __init__(self, folder: Path) -> None:
        _remove(folder)
        self.folder = folder
        self.data = folder / "data"
        self._box: Sandbox | None = None
        self._server: Program | None = None

    @property
    def box(self) -> Sandbox:
        """Return where its programs run. Raises BackupError where it cannot be made."""
        if self._box is None:
            self._box = sandbox(self.data, self.folder / _SERVER.lstrip("/"))
        return self._box

    @asynccontextmanager
    async def filling(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Give the writer that takes an mbstream, compressed by zstd or not.

        Raises BackupError where it is torn.
        """
        program = await self.box.start(
            *("bash", "-o", "pipefail", "-c", _UNPACK),
            stdin=asyncio.subprocess.PIPE,
            remedy=INSTALL,
        )
        async with _fed(program, "unpacking the backup of the database") as writer:
            yield writer

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Make an empty data directory, serve it, and give the writer that takes a dump.

        Users and grants are taken too: the server that loads them asks for grants, as one that
        does not can keep none; afterwards it has ended. Raises BackupError at the first statement
        that fails.
        """
        await self.box.run(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={DATA}",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={USER}",
            "--skip-name-resolve",
            "--skip-test-db",
            doing="making an empty data directory",
            bound=START_BOUND,
            remedy=INSTALL,
        )
        await self._serve("--innodb-buffer-pool-size=512M")
        program = await self.box.start(
            *("mariadb", *CLIENT, f"--socket={_SOCKET}", f"--user={USER}"),
            stdin=asyncio.subprocess.PIPE,
            remedy=INSTALL,
        )
        async with _fed(program, "loading the dump of the databases") as writer:
            yield writer
        await self.stop()

    async def prepare(self, *, bound: float) -> None:
        """Make the copied files consistent, as of the end of the backup. Raises BackupError."""
        doing = "preparing the backup of the database"
        program = next((name for name in _PREPARE if found(name)), _PREPARE[0])
        self._keep_plain_settings(doing)
        await self.box.run(
            *(program, "--prepare", f"--target-dir={DATA}", f"--plugin-dir={EMPTY}"),
            "--use-memory=256M",
            doing=doing,
            bound=bound,
            remedy=INSTALL,
        )

    def _keep_plain_settings(self, doing: str) -> None:
        """Write the settings that came with the backup anew. Raises BackupError."""
        try:
            with Folder.open(self.data) as folder:
                came = folder.content(SETTINGS_FILE, most=_SETTINGS_MOST).decode(errors="replace")
                folder.write(SETTINGS_FILE, plain_settings(came).encode(), mode=0o644)
        except OSError as error:
            raise failed(doing, f"{SETTINGS_FILE} in it: {error.strerror}") from None

    async def serve(self) -> None:
        """Start the server and wait until it answers. Raises BackupError."""
        await self._serve("--skip-grant-tables", "--innodb-buffer-pool-size=128M")

    async def _serve(self, *options: str) -> None:
        doing = "starting the scratch server"
        self._server = await self.box.start(
            "mariadbd",
            "--no-defaults",
            f"--datadir={DATA}",
            f"--socket={_SOCKET}",
            f"--pid-file={_SERVER}/pid",
            f"--log-error={_SERVER}/{_LOG}",
            f"--plugin-dir={EMPTY}",
            f"--secure-file-priv={EMPTY}",
            "--local-infile=0",
            "--skip-symbolic-links",
            "--skip-networking",
            "--skip-log-bin",
            "--max-allowed-packet=1G",
            "--innodb-flush-log-at-trx-commit=0",
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            remedy=INSTALL,
        )
        try:
            async with asyncio.timeout(START_BOUND):
                while not await self._answers():
                    if self._server.returncode is not None:
                        await self._server.end_well(doing)
                        raise failed(doing, self._last_words())
                    await asyncio.sleep(0.1)
        except TimeoutError:
            came_back = f"it did not answer within {START_BOUND:g} s: {self._last_words()}"
            raise not_done(doing, came_back) from None

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
            raise not_done(
                "stopping the scratch server", f"it still runs after {STOP_BOUND:g} s"
            ) from None
        finally:
            await server.kill()
        if status != 0:
            raise failed("stopping the scratch server", self._last_words())

    async def query(self, text: str, *, bound: float = 300.0) -> list[str]:
        """Return the lines of the answer. Raises BackupError."""
        answer = await self.box.run(
            *("mariadb", *CLIENT, f"--socket={_SOCKET}", "--batch", "--skip-column-names"),
            doing="asking the restored database",
            bound=bound,
            given=text,
            remedy=INSTALL,
        )
        return answer.split("\n")[:-1]

    async def check_tables(self, databases: Sequence[str], *, bound: float) -> list[str]:
        """Return what CHECK TABLE says of tables that are not well."""
        doing = "checking the restored tables"
        _refuse_unusual(databases, doing)
        output = await self.box.run(
            *("mariadb-check", "--no-defaults", f"--plugin-dir={EMPTY}", f"--socket={_SOCKET}"),
            *("--check", "--databases", "--", *databases),
            doing=doing,
            bound=bound,
            remedy=INSTALL,
        )
        return [clean(line) for line in output.splitlines() if not line.endswith("OK")]

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
        _refuse_unusual(databases, doing)
        program = await self.box.start(
            *("mariadb-dump", "--no-defaults", f"--plugin-dir={EMPTY}", f"--socket={_SOCKET}"),
            "--single-transaction",
            "--quick",
            "--routines",
            "--events",
            "--triggers",
            "--hex-blob",
            *([] if single else ["--databases"]),
            "--",
            *databases,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            remedy=INSTALL,
        )
        last = b""
        try:
            async with asyncio.timeout(silence) as limit:
                while data := await program.stdout.read(1 << 18):
                    await receive(data)
                    last = (last + data)[-200:]
                    limit.reschedule(asyncio.get_running_loop().time() + silence)
            await program.end_well(doing)
        except TimeoutError:
            raise not_done(doing, f"no output for {silence:g} s") from None
        finally:
            await program.kill()
        if b"-- Dump completed" not in last:
            raise failed(doing, "its last line is missing")

    async def replay(
        self, files: Sequence[Path], *, start: int, until: datetime | None, bound: float
    ) -> Replayed:
        """Replay binary log files, the first from ``start``: as ``transports.replay.replay``.

        The server is started anew afterwards: once it has read its grants it asks for logins.
        """
        played = await replay(self.box, _SOCKET, files, start=start, until=until, bound=bound)
        await self.stop()
        await self.serve()
        return played

    def release(self) -> None:
        """Leave the data directory where it is, for others to use; the server has ended."""
        _remove(self.folder / _SERVER.lstrip("/"))

    async def close(self) -> None:
        """End the server and remove everything."""
        if self._server is not None:
            await self._server.kill()
        await asyncio.to_thread(_remove, self.folder)

    async def _answers(self) -> bool:
        with contextlib.suppress(BackupError):
            await self.query("SELECT 1", bound=10)
            return True
        return False

    def _last_words(self) -> str:
        """Return the last error in the server's log, or its last line."""
        text = ""
        with (
            contextlib.suppress(OSError),
            Folder.open(self.folder / _SERVER.lstrip("/")) as folder,
            folder.read(_LOG) as log,
        ):
            log.seek(max(os.fstat(log.fileno()).st_size - _LOG_MOST, 0))
            text = log.read(_LOG_MOST).decode(errors="replace")
        lines = text.splitlines()
        wrong = [line for line in lines if "[ERROR]" in line]
        return clean((wrong or lines or ["it printed nothing"])[-1], longest=300)


async def server_version() -> str:
    """Return the version of this machine's server (``10.11.6-MariaDB``). Raises BackupError."""
    output = await run(
        "mariadbd", "--version", doing="asking for this server's version", bound=20, remedy=INSTALL
    )
    return output.partition("Ver ")[2].partition(" ")[0]


@asynccontextmanager
async def _fed(program: Program, doing: str) -> AsyncIterator[asyncio.StreamWriter]:
    """Give a program's input; when the block ends it must have taken all of it, and well."""
    try:
        try:
            yield program.stdin
        except (BrokenPipeError, ConnectionResetError):
            await program.end_well(doing)  # its own last words say more
            raise failed(doing, "it ended before it received everything") from None
        await program.end_well(doing)
    finally:
        await program.kill()


def _refuse_unusual(databases: Sequence[str], doing: str) -> None:
    """Raise BackupError where a database has a name that is no argument."""
    try:
        for name in databases:
            identifier(name)
    except UnusualName as error:
        raise failed(doing, f"a database: {error}") from None


def _remove(folder: Path) -> None:
    """Remove a folder, however deep; no link in it is followed."""
    subprocess.run(
        ["rm", "-rf", "--one-file-system", "--", str(folder)], capture_output=True, check=False
    )
