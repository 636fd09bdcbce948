"""What the pages show besides the snapshot, read in the background: requests wait for no disk."""

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
from backstay.watch.web.recovery_status import RecoveryStatus, read_recovery_status

T = TypeVar("T")

INTERVAL = 1.0
"""Seconds between reads of the journal while a page is open; ten times as long otherwise."""

RECOVERY_INTERVAL = 30.0
"""Seconds between reads of backups and past runs."""

_BOUND = 3.0
_MOST_CALLS = 4
_RECENTLY_WANTED = 15.0
_RUNS = 12
_PAST_RUNS = 60
_INCIDENTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What was read from the journal and the catalogue of backups.

    Attributes:
        at: Unix time of the read, 0 before the first.
        open: Open incidents.
        resolved: The newest resolved incidents, newest first.
        runs: Runs in progress.
        messages: The last message of each run in progress.
        notifications: Number of notifications by channel and delivery state.
        waiting: Incidents that wait for an approval: of which run, and until when.
        recovery: Backups, RPO, RTO and maintenance windows.
        error: Why the journal cannot be read now; the other fields are then those of ``at``.

    """

    at: float = 0.0
    open: tuple[Incident, ...] = ()
    resolved: tuple[Incident, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    messages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notifications: Mapping[tuple[str, Delivery], int] = field(
        default_factory=lambda: MappingProxyType({})
    )
    waiting: Mapping[int, tuple[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    recovery: RecoveryStatus = field(default_factory=RecoveryStatus)
    error: str = ""

    @property
    def resolved_at(self) -> float | None:
        """Return when the last incident was resolved, None if there was none."""
        return max((incident.closed for incident in self.resolved if incident.closed), default=None)


class RecordReader:
    """Keeps ``records`` up to date; ``ask`` reads what only one page shows."""

    def __init__(self, store: WatchStore, journal: Store, cloud: Cloud) -> None:
        self.records = Records()
        self.store, self.journal = store, journal
        self._cloud = cloud
        self._wanted_at = 0.0
        self._wanted = asyncio.Event()
        self._calls = threading.BoundedSemaphore(_MOST_CALLS)

    def wanted(self) -> Records:
        """Return the records; for a while they are read more often."""
        self._wanted_at = time.monotonic()
        self._wanted.set()
        return self.records

    async def ask(self, call: Callable[[], T]) -> T:
        """Return what a call of the journal returns. Raises JournalError, also if it is late.

        The number of calls that hang is bounded: each keeps a thread until the database answers.
        """
        if not self._calls.acquire(blocking=False):
            raise _unreadable("too many calls are waiting for it already")

        def counted() -> T:
            try:
                return call()
            finally:
                self._calls.release()

        try:
            return await on_thread(counted, _BOUND)
        except TimeoutError:
            raise _unreadable(f"no answer within {_BOUND:.0f} s") from None

    async def run(self) -> None:
        """Read until cancelled."""
        recovery_at = 0.0
        while True:
            await self._update()
            if time.monotonic() - recovery_at >= RECOVERY_INTERVAL or not recovery_at:
                recovery_at = time.monotonic()
                await self._update_recovery()
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(INTERVAL)
        if time.monotonic() - self._wanted_at < _RECENTLY_WANTED:
            return
        self._wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(9 * INTERVAL):
                await self._wanted.wait()

    async def _update(self) -> None:
        try:
            found = await self.ask(self._read)
        except BackstayError as error:
            self.records = replace(self.records, error=f"{error}; {error.remedy}")
        else:
            self.records = replace(found, recovery=self.records.recovery)

    def _read(self) -> Records:
        incidents = self.store.incidents(limit=_INCIDENTS)
        runs = [
            run
            for run in self.journal.readable_runs(cloud=self._cloud.name, limit=_RUNS)[0]
            if run.state is RunState.RUNNING
        ]
        return Records(
            at=time.time(),
            open=tuple(self.store.incidents(only_open=True, limit=_INCIDENTS)),
            resolved=tuple(incident for incident in incidents if incident.closed is not None),
            runs=tuple(runs),
            messages={run.id: self._last_message(run.id) for run in runs},
            notifications=self.store.notification_counts(),
            waiting=self.store.waiting(now=time.time()),
        )

    def _last_message(self, run: str) -> str:
        return next((e.text for e in reversed(self.journal.events(run)) if e.text), "")

    async def _update_recovery(self) -> None:
        def read() -> RecoveryStatus:
            runs, _ = self.journal.readable_runs(cloud=self._cloud.name, limit=_PAST_RUNS)
            return read_recovery_status(self._cloud, runs, time.time())

        try:
            recovery = await self.ask(read)
        except BackstayError as error:
            recovery = replace(self.records.recovery, error=f"{error}; {error.remedy}")
        self.records = replace(self.records, recovery=recovery)


def _unreadable(why: str) -> JournalError:
    return JournalError(
        "reading the journal",
        came_back=why,
        remedy="check the disk or the database server of the journal, and which process locks it",
    )
