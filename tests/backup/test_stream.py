"""The stream against a real server of our own, which is killed, emptied and built anew."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from backstay.backup.mariadb import onhost_database
from backstay.backup.mariadb.binlog import Asker, Receiver, asking, receiving
from backstay.backup.mariadb.binlog_file import identity_of, reach
from backstay.backup.mariadb.logs import Logs
from backstay.backup.mariadb.source import ServerFile, ServerLogs
from backstay.backup.mariadb.stream import Stream, held, running
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.errors import BackupError
from tests.backup.server import PATH, Server

pytestmark = pytest.mark.skipif(
    shutil.which("mariadbd", path=PATH) is None or os.geteuid() != 0,
    reason="needs mariadb-server, and root",
)
BOUND = 30.0


class Local:
    """The server as a source, without SSH in between."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def server_logs(self) -> ServerLogs:
        try:
            told = await asyncio.to_thread(onhost_database.binary_logs)
        except OSError as error:
            raise BackupError("asking", came_back=str(error), remedy="wait") from error
        files = [ServerFile(name=n, size=s, identity=i) for n, s, i in told["files"]]
        return ServerLogs(socket=told["socket"], files=files)

    @contextlib.asynccontextmanager
    async def receiving(
        self, socket: str, first: str, folder: Path
    ) -> AsyncIterator[tuple[Asker, Receiver]]:
        assert socket == str(self.socket)
        # As with SSH in between: to the server whoever connects is root.
        here = self.socket.with_name("forwarded")
        here.unlink(missing_ok=True)
        forwarder = await asyncio.start_unix_server(self._forward, here)
        async with (
            forwarder,
            asking(here) as asker,
            receiving(here, first, folder, number=4711) as receiver,
        ):
            yield asker, receiver

    async def _forward(self, reader: StreamReader, writer: StreamWriter) -> None:
        async def copy(source: StreamReader, target: StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            target.close()

        with contextlib.suppress(OSError):
            there = await asyncio.open_unix_connection(self.socket)
            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
        writer.close()


class Running:
    """A stream that runs while the story goes on."""

    def __init__(self, logs: Logs, socket: Path) -> None:
        self.logs = logs
        self.stream = Stream(
            "controller", Local(socket), logs, backups=list, say=lambda state: None
        )

    @property
    def state(self) -> StreamState:
        return self.stream.state

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.stream.run())
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + BOUND
        while not holds():
            assert not self.task.done(), self.task.exception()
            assert time.monotonic() < end, self.state
            await asyncio.sleep(0.02)

    async def caught_up(self) -> None:
        now = time.time()
        await self.until(lambda: (self.state.caught_up_at or 0) > now)


def test_it_goes_on_where_it_was_and_keeps_every_incarnation(
    server: Server, tmp_path: Path
) -> None:
    logs = Logs(tmp_path / "logs" / "controller")

    async def story() -> None:
        async with Running(logs, server.socket) as run:
            await run.caught_up()
            assert run.state.doing is StreamActivity.STREAMING
            server.ask("INSERT INTO story.t VALUES (1); FLUSH BINARY LOGS; FLUSH BINARY LOGS")
            await run.until(lambda: run.state.file == "mysql-bin.000003")
            assert running(logs.folder)
            with pytest.raises(BackupError, match="another stream"), held(logs.folder):
                pass
        [one] = logs.incarnations()
        assert one.sizes() == sizes(server), "the same names and sizes as on the server"
        identity = identity_of(one.folder / "mysql-bin.000002") or ""
        assert logs.after("mysql-bin.000002", 4, identity) == one.pieces()[1:]
        assert not running(logs.folder)

        # Written while nothing runs, and the server was killed meanwhile.
        server.ask("INSERT INTO story.t VALUES (2)")
        server.stop(kill=True)
        async with Running(logs, server.socket) as run:
            await run.until(lambda: run.state.doing is StreamActivity.FAILED)
            server.start()
            await run.caught_up()
        assert [i.number for i in logs.incarnations()] == [1]
        assert one.sizes() == sizes(server)

        # The server throws its log away, then a new server takes its place.
        kept = one.sizes()
        async with Running(logs, server.socket) as run:
            await run.caught_up()
            server.ask("RESET MASTER; INSERT INTO story.t VALUES (3)")
            await run.until(lambda: run.state.incarnation == 2)
            await run.caught_up()
            assert logs.incarnations()[0].sizes() == sizes(server)
            assert "which is kept" in run.state.note
            server.build()
            server.ask("INSERT INTO story.t VALUES (4)")
            await run.until(lambda: run.state.incarnation == 3)
            await run.caught_up()
            assert logs.incarnations()[0].sizes() == sizes(server)
        assert one.sizes() == kept, "nothing of what was there is touched"
        third, second, first = logs.incarnations()
        assert reach(second.pieces()[-1], 4).changes == 1
        for each in (first, second, third):
            piece = each.pieces()[0]
            assert logs.after(piece.name, 4, identity_of(piece) or "")[0] == piece

    asyncio.run(story())


class Writer:
    """Writes one row after another until its server goes away, noting what was acknowledged."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: list[tuple[float, int]] = []
        self._process = subprocess.Popen(
            [
                "mariadb",
                "--no-defaults",
                f"--socket={server.socket}",
                "-BN",
                "--unbuffered",
                "story",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            for number in range(1000, 1_000_000):
                self._process.stdin.write(f"INSERT INTO t VALUES ({number}); SELECT {number};\n")
                self._process.stdin.flush()
                if not self._process.stdout.readline():
                    break
                self.acknowledged.append((time.time(), number))

    def join(self) -> None:
        self._thread.join(BOUND)
        self._process.kill()
        self._process.communicate()


def rows(files: Sequence[Path]) -> set[int]:
    shown = subprocess.run(
        ["mariadb-binlog", "--no-defaults", "-v", *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {int(found) for found in re.findall(r"^###   @1=(\d+)", shown.stdout, re.MULTILINE)}


def test_what_it_calls_received_is_there_when_the_server_is_killed(
    server: Server, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    logs = Logs(tmp_path / "logs" / "controller")

    async def story() -> None:
        async with Running(logs, server.socket) as run:
            await run.caught_up()
            writer = Writer(server)
            await run.until(lambda: len(writer.acknowledged) > 2000)
            await run.caught_up()
            server.stop(kill=True)
            await asyncio.to_thread(writer.join)
            await run.until(lambda: run.state.doing is StreamActivity.FAILED)
            caught_up_at = run.state.caught_up_at or 0.0
            assert run.state.rpo(time.time()) != 0
        here = rows(logs.incarnations()[0].pieces())
        lost = [(at, number) for at, number in writer.acknowledged if number not in here]
        record_property("acknowledged", len(writer.acknowledged))
        record_property("lost", len(lost))
        print(f"{len(writer.acknowledged)} acknowledged, {len(lost)} lost")
        assert [number for at, number in lost if at < caught_up_at] == []

    asyncio.run(story())


def sizes(server: Server) -> dict[str, int]:
    lines = [line.split("\t") for line in server.ask("SHOW BINARY LOGS")]
    return {line[0]: int(line[1]) for line in lines}
