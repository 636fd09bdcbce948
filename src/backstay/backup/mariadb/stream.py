"""Receiving a server's binary log for as long as this runs, and knowing how far behind it is."""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from backstay.backup.catalogue import Backup
from backstay.backup.mariadb.binlog import Asker
from backstay.backup.mariadb.logs import Incarnation, Logs
from backstay.backup.mariadb.source import ServerFile, Source, first_file, next_file
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState, behind, reaches
from backstay.errors import BackstayError, BackupError

PULSE = 1.0
"""Seconds between two questions for the server's position, and between two words of its state."""
ASK_BOUND = 10.0
STALLED = 30.0
"""Seconds without data while the server has more, after which it is restarted."""
_LOOK = 0.05
_PAUSES = (0.5, 10.0)
_SAMPLES = 600
_LOCK_TRIES = 10


class Stream:
    """The stream of one host.

    ``backups`` gives the backups of the host; ``say`` is called with each state.
    """

    def __init__(
        self,
        host: str,
        source: Source,
        logs: Logs,
        *,
        backups: Callable[[], Sequence[Backup]],
        say: Callable[[StreamState], None],
    ) -> None:
        self._source = source
        self._logs = logs
        self._backups = backups
        self._say = say
        now = time.time()
        begin = StreamState(
            host=host, doing=StreamActivity.CONNECTING, begun_at=now, written_at=now
        )
        with contextlib.suppress(BackupError):  # torn: it is written anew
            begin = logs.state() or begin
        self.state = replace(begin, doing=StreamActivity.CONNECTING, error="", remedy="", note="")
        self._since: list[tuple[float, str, int]] = []
        self._progress = (0, 0)
        self._moved_at = 0.0

    async def run(self) -> None:
        """Receive until cancelled; begin again, ever less often, when it breaks off.

        Raises BackupError where another stream of the host runs here.
        """
        with held(self._logs.folder):
            heartbeat = asyncio.create_task(self._heartbeat())
            try:
                await self._again_and_again()
            finally:
                heartbeat.cancel()

    async def _again_and_again(self) -> None:
        shortest, longest = _PAUSES
        pause = shortest
        while True:
            started = time.monotonic()
            try:
                await self._receive()
            except BackstayError as error:
                message = f"{error.attempted}: {error.came_back}"
                self._report(doing=StreamActivity.FAILED, error=message, remedy=error.remedy)
            except OSError as error:
                message = f"writing to {error.filename or self._logs.folder}: {error.strerror}"
                self._report(
                    doing=StreamActivity.FAILED,
                    error=message,
                    remedy="check the disk of this machine",
                )
            if time.monotonic() - started > longest:
                pause = shortest
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _receive(self) -> None:
        """Connect and receive until it breaks off. Raises BackstayError."""
        logs = await self._source.server_logs()
        incarnation, first = self._joined(logs.files)
        async with self._source.receiving(logs.socket, first, incarnation.arriving) as (ask, got):
            self._moved_at = time.monotonic()
            async for asked_at, server in _asked(ask):
                self._refuse_other(dict(server))
                await self._follow(incarnation, asked_at, server)
                await got.refuse_end()
                self._refuse_stalled(incarnation)

    def _joined(self, server: Sequence[ServerFile]) -> tuple[Incarnation, str]:
        """Return where to receive into, and from which file on."""
        incarnation = next(iter(self._logs.incarnations()), None)
        if incarnation is not None:
            incarnation.clear()
        first = next_file(incarnation, server)
        if first is None:
            first = first_file(server, self._backups())
            note = f"received from {first} on"
            if incarnation is not None and (kept := incarnation.pieces()):
                last = kept[-1].name
                note = f"the server's log does not continue from {last}, which is kept: {note}"
                incarnation = None
            self._report(note=note)
        if incarnation is None:
            incarnation = self._logs.begin()
        if incarnation.number != self.state.incarnation:
            # What was known of another says nothing about this one.
            self._since = []
            self._report(
                incarnation=incarnation.number,
                begun_at=time.time(),
                caught_up_at=None,
                behind=None,
                file="",
                received=0,
            )
        return incarnation, first

    async def _follow(
        self,
        incarnation: Incarnation,
        asked_at: float,
        server: Sequence[tuple[str, int]],
    ) -> None:
        """Look at what is here until it is all that the server had, or until the next question."""
        file, size = server[-1]
        self._since.append((asked_at, file, size))
        if len(self._since) > _SAMPLES:
            del self._since[1::2]
        end = time.monotonic() + PULSE
        while True:
            incarnation.settle()
            here = incarnation.sizes()
            left = behind(server, here)
            self._note(here, server, asked_at, left)
            if left == 0 or time.monotonic() > end:
                break
            await asyncio.sleep(_LOOK)
        incarnation.note_closed(server)

    def _note(
        self,
        here: dict[str, int],
        server: Sequence[tuple[str, int]],
        asked_at: float,
        left: int,
    ) -> None:
        """Note what is here, and up to when it is known to be all."""
        caught_up_at = self.state.caught_up_at
        while self._since and reaches(here, *self._since[0][1:]):
            caught_up_at = self._since.pop(0)[0]
        newest = next(reversed(here), "")
        received = here.get(newest, 0)
        file, size = server[-1]
        self._report(
            doing=StreamActivity.STREAMING,
            error="",
            remedy="",
            file=newest,
            received=received,
            source_file=file,
            source_position=size,
            behind=left,
            caught_up_at=caught_up_at,
            asked_at=asked_at,
        )

    def _refuse_other(self, server: dict[str, int]) -> None:
        """Raise BackupError where the server has less than was here before it was asked."""
        if self.state.file and server.get(self.state.file, -1) < self.state.received:
            raise BackupError(
                "receiving the binary log",
                came_back=f"the server has less of {self.state.file} than was received: "
                "it has started another log",
                remedy="nothing: it is received into another folder",
            )

    def _refuse_stalled(self, incarnation: Incarnation) -> None:
        """Raise BackupError where nothing has come for long though the server has more."""
        progress = incarnation.progress()
        if progress != self._progress or not self.state.behind:
            self._progress, self._moved_at = progress, time.monotonic()
        elif time.monotonic() - self._moved_at > STALLED:
            raise BackupError(
                "receiving the binary log",
                came_back=f"nothing was received for {STALLED:g} s, and the server has more",
                remedy="nothing: it is restarted automatically",
            )

    def _report(self, **changed: object) -> None:
        self.state = replace(self.state, **changed)  # type: ignore[arg-type]  # its own fields

    async def _heartbeat(self) -> None:
        """Write the state again and again: a fresh state shows that this process is alive."""
        while True:
            self.state = replace(self.state, written_at=time.time())
            with contextlib.suppress(BackupError):  # a full disk: the old state is reported as old
                self._logs.write_state(self.state)
            self._say(self.state)
            await asyncio.sleep(PULSE)


async def _asked(asker: Asker) -> AsyncIterator[tuple[float, list[tuple[str, int]]]]:
    """Give about every second when the server was asked and what it had. Raises BackupError."""
    while True:
        started = time.monotonic()
        asked_at = time.time()
        yield asked_at, await asker.sizes(bound=ASK_BOUND)
        await asyncio.sleep(max(PULSE - (time.monotonic() - started), 0))


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock on a host's logs. Raises BackupError where another process holds it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        if not any(_taken(lock) for _ in range(_LOCK_TRIES)):
            raise BackupError(
                f"receiving the binary log of {folder.name}",
                came_back="another stream of this host runs on this machine",
                remedy="backstay backup stream status; the service is backstay-stream-*",
            )
        yield


def running(folder: Path) -> bool:
    """Return whether a stream of the host runs on this machine, be it stalled."""
    try:
        with (folder / "lock").open("r") as lock:
            return not _taken(lock)
    except FileNotFoundError:
        return False


def _taken(lock: IO[str]) -> bool:
    """Take the lock; where another holds it wait a moment and say no.

    Whoever asks whether a stream runs holds it for an instant too.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_LOOK)
        return False
    return True
