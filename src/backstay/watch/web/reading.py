"""What the pages show besides the board, read in the background: requests wait for no disk."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.records import JournalError, RunRecord, RunState
from backstay.journal.store import Store
from backstay.transports.threads import on_thread
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.notification import Delivery
from backstay.watch.incidents.store import WatchStore
from backstay.watch.web.recovery_status import RecoveryStatus, look

T = TypeVar("T")

QUICK = 1.0
"""Seconds between looks into the journal while somebody reads the page; else ten times as long."""

SLOW = 30.0
"""Seconds between looks at backups, and at what past runs took."""

_BOUND = 3.0
_AT_ONCE = 4
_WATCHED_FOR = 15.0
_RUNS = 12
_PAST_RUNS = 60
_INCIDENTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What was read ``at`` (Unix time, 0 where nothing was yet).

    ``open`` are the open incidents, ``over`` the newest that are over; ``runs`` those under way,
    ``says`` what each said last. ``waiting`` has the incidents that wait for an approval: of which
    run, and until when. ``trouble`` is why the journal cannot be read now: the rest is
    then as it was before.
    """

    at: float = 0.0
    open: tuple[Incident, ...] = ()
    over: tuple[Incident, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    says: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    told: Mapping[tuple[str, Delivery], int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: Mapping[int, tuple[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    kept: RecoveryStatus = field(default_factory=RecoveryStatus)
    trouble: str = ""


class Reading:
    """Keeps ``records`` fresh; ``ask`` reads what only one page shows."""

    def __init__(self, store: WatchStore, journal: Store, cloud: Cloud) -> None:
        self.records = Records()
        self.store, self.journal = store, journal
        self._cloud = cloud
        self._wanted_at = 0.0
        self._wanted = asyncio.Event()
        self._asking = threading.BoundedSemaphore(_AT_ONCE)

    def wanted(self) -> Records:
        """Return the records; for a while they are read more often."""
        self._wanted_at = time.monotonic()
        self._wanted.set()
        return self.records

    async def ask(self, call: Callable[[], T]) -> T:
        """Return what a call of the journal returns. Raises JournalError, also where it is late.

        Calls that hang are few: each keeps a thread until the database lets go of it.
        """
        if not self._asking.acquire(blocking=False):
            raise _late("too many questions wait for it already")

        def counted() -> T:
            try:
                return call()
            finally:
                self._asking.release()

        try:
            return await on_thread(counted, _BOUND)
        except TimeoutError:
            raise _late(f"no answer within {_BOUND:.0f} s") from None

    async def run(self) -> None:
        """Read for ever; cancelled to end."""
        slow_at = 0.0
        while True:
            await self._look()
            if time.monotonic() - slow_at >= SLOW or not slow_at:
                slow_at = time.monotonic()
                await self._look_at_kept()
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(QUICK)
        if time.monotonic() - self._wanted_at < _WATCHED_FOR:
            return
        self._wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(9 * QUICK):
                await self._wanted.wait()

    async def _look(self) -> None:
        try:
            found = await self.ask(self._read)
        except BackstayError as error:
            self.records = replace(self.records, trouble=f"{error}; {error.remedy}")
        else:
            self.records = replace(found, kept=self.records.kept)

    def _read(self) -> Records:
        incidents = self.store.incidents(limit=_INCIDENTS)
        runs = [
            run
            for run in self.journal.runs(cloud=self._cloud.name, limit=_RUNS)
            if run.state is RunState.RUNNING
        ]
        return Records(
            at=time.time(),
            open=tuple(self.store.incidents(only_open=True, limit=_INCIDENTS)),
            over=tuple(one for one in incidents if one.closed is not None),
            runs=tuple(runs),
            says={run.id: self._last_said(run.id) for run in runs},
            told=self.store.told(),
            waiting=self.store.waiting(now=time.time()),
        )

    def _last_said(self, run: str) -> str:
        return next((e.text for e in reversed(self.journal.events(run)) if e.text), "")

    async def _look_at_kept(self) -> None:
        def reads() -> RecoveryStatus:
            runs = self.journal.runs(cloud=self._cloud.name, limit=_PAST_RUNS)
            return look(self._cloud, runs, time.time())

        try:
            self.records = replace(self.records, kept=await self.ask(reads))
        except BackstayError as error:
            kept = replace(self.records.kept, trouble=f"{error}; {error.remedy}")
            self.records = replace(self.records, kept=kept)


def _late(why: str) -> JournalError:
    return JournalError(
        "reading the journal",
        came_back=why,
        remedy="see what holds it, and the disk that it is on; what the watch sees now is shown",
    )
