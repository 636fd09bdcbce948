"""The incident log: open incidents and their notifications, also without a usable journal.

Every change is written to the journal and, before that, to a spare database on this machine's
memory disk. While the journal cannot be written (locked, disk full, unreachable) nothing waits for
it: incidents are opened, notified and resolved all the same, and merged into it when it is back.

If this machine is switched off while its journal cannot be written, what was sent meanwhile is
lost. What still fails is then notified once more, under another number.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from backstay.errors import BackstayError
from backstay.watch.incidents import record as of
from backstay.watch.incidents.incident import Cause, Incident, Urgency
from backstay.watch.incidents.notification import Delivery, Notification, NotificationEvent
from backstay.watch.incidents.reading import DamagedIncident
from backstay.watch.incidents.record import IncidentRecord
from backstay.watch.incidents.store import GuardedStore, Minute, WatchStore

PAUSE = 2.0
"""Seconds between two attempts to reach it again."""
MEET = 60.0
FORGET = 3600.0
MINUTES = 50_000
"""Minutes of history kept in memory while the journal cannot be written."""


class NotLeading(BackstayError):
    """Another process leads the watch: this one must not notify any more."""


class IncidentLog:
    """Incidents and their notifications. No call raises JournalError, or waits for long.

    ``store`` is the journal, ``spare`` what stands in for it; both want a ``busy`` of ``BUSY``.
    ``channels`` returns the channels for an urgency; resolved incidents are deleted after ``keep``
    seconds. ``changed`` is set when there is something to send, ``lease_lost`` when
    another process has taken the watch over in the journal.
    """

    def __init__(
        self,
        store: WatchStore,
        *,
        channels: Callable[[Urgency], Sequence[str]],
        keep: float,
        spare: WatchStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.changed = asyncio.Event()
        self.lease_lost = asyncio.Event()
        self._journal = GuardedStore(store, "the journal")
        self._spare = (
            None if spare is None else GuardedStore(spare, "what stands in for the journal")
        )
        self._channels = channels
        self._keep = keep
        self._clock = clock
        self._book: dict[int, IncidentRecord] = {}
        self._now_called: dict[int, int] = {}
        self._stale: set[int] = set()
        self._unwritten: set[int] = set()
        self._sending: set[str] = set()
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)
        self._leads = False
        self._damaged: tuple[str, ...] = ()
        # A change is made and written under it: what is sent was written before.
        self._lock = asyncio.Lock()

    @property
    def problems(self) -> tuple[str, ...]:
        """Return the problems of the journal, one sentence each."""
        found = []
        if self._journal.trouble is not None:
            found.append(
                f"the journal cannot be written ({self._journal.trouble.came_back}): notifications "
                "are sent all the same, and incidents written when it can be; "
                + self._journal.trouble.remedy
            )
        if self._spare is not None and self._spare.trouble is not None:
            found.append(str(self._spare.trouble))
        found += self._damaged
        return tuple(found)

    @property
    def writable(self) -> bool:
        """Return whether the journal can be written: no action is allowed if it cannot."""
        return self._works and not self._journal.lease_lost

    @property
    def _works(self) -> bool:
        return self._journal.trouble is None

    async def start(self) -> None:
        """Take the watch over, and read what is open: from the journal if it can be, at once."""
        async with self._lock:
            if self._spare is not None:
                for one in await self._spare.asked(self._spare.store.everything) or ():
                    self._book[one.incident.id] = one
        await self._meet()
        self._wake()

    async def run(self) -> None:
        """Write to the journal what could not be written, and forget what is old; forever."""
        met, forgotten = time.monotonic(), -FORGET
        while True:
            await asyncio.sleep(PAUSE)
            now = time.monotonic()
            # Also where nothing is wrong: a write that was given up may have come true after all.
            if not self._works or now - met > MEET:
                met = now
                await self._meet()
            elif now - forgotten > FORGET:
                forgotten = now
                async with self._lock:
                    await self._journal.done(self._forget)
            self._fence()

    def _forget(self) -> None:
        self._journal.store.forget(before=self._clock() - self._keep)

    async def open(self, cause: Cause, *, began: float, at: float) -> Incident:
        """Open an incident and notify; return the open one if there is one of this cause."""
        async with self._lock:
            known = self._open_one(cause.key)
            if known is not None:
                return known.incident
            made = await self._opened(cause, began=began, at=at)
            await self._enter(made)
            return made.incident

    async def _opened(self, cause: Cause, *, began: float, at: float) -> IncidentRecord:
        channels = self._channels(cause.urgency)

        def write() -> IncidentRecord | None:
            number = self._journal.store.open(cause, began=began, at=at, channels=channels).id
            return self._journal.store.record(number)

        made = await self._journal.asked(write) if self._works else None
        if made is not None:
            return made
        cloud = self._journal.store.cloud
        number = of.unnumbered(cloud, cause, at)
        return of.opened_record(number, cloud, cause, began=began, at=at, channels=channels)

    async def change(
        self, incident: Incident, cause: Cause, *, at: float, text: str, notify: bool = False
    ) -> Incident:
        """Note that more, or something else, is known of its cause; with ``notify``, tell that."""
        channels = tuple(self._channels(cause.urgency)) if notify else ()
        return await self._alter(
            incident, lambda it: of.updated(it, cause, at=at, text=text, channels=channels)
        )

    async def note(
        self,
        incident: Incident,
        kind: str,
        text: str,
        *,
        at: float,
        run: str | None = None,
        event: NotificationEvent | None = None,
    ) -> Incident:
        """Add a line to its timeline; ``run`` was started for it; with ``event``, tell it."""
        channels = self._channels(incident.cause.urgency)
        return await self._alter(
            incident,
            lambda it: of.noted(it, kind, text, at=at, run=run, event=event, channels=channels),
        )

    async def close(self, incident: Incident, *, at: float, text: str) -> None:
        """Resolve it, and notify."""
        channels = self._channels(incident.cause.urgency)
        await self._alter(incident, lambda it: of.resolved(it, at=at, text=text, channels=channels))

    def open_incidents(self) -> tuple[Incident, ...]:
        """Return what is open, the oldest first."""
        found = [one.incident for one in self._book.values() if one.incident.closed is None]
        return tuple(sorted(found, key=lambda it: it.opened))

    async def incident(self, number: int) -> Incident | None:
        """Return an incident, also one that is over; None where it is not available."""
        number = self._now_called.get(number, number)
        known = self._book.get(number) or await self._over(number)
        return None if known is None else known.incident

    async def _over(self, number: int) -> IncidentRecord | None:
        """Read an incident that is resolved and fully notified: it is in the journal only."""
        if not self._works:
            return None
        return await self._journal.asked(lambda: self._journal.store.record(number))

    async def keep(self, minutes: Sequence[Minute]) -> None:
        """Keep how subjects answered in minutes that are over."""
        async with self._lock:
            self._minutes.extend(minutes)
            if self._works:
                await self._write_minutes()

    async def due(self, now: float) -> list[tuple[Notification, Incident]]:
        """Return the notifications that are due, oldest first.

        One that is ``SENDING`` was being sent when an earlier watch ended: it is not known whether
        it was received.
        """
        async with self._lock:
            if self._journal.lease_lost:
                return []
            found = [
                (notification, one.incident)
                for one in self._book.values()
                for notification in one.unsent
                if notification.next <= now and notification.id not in self._sending
            ]
            return sorted(found, key=lambda it: (it[0].made, it[0].id))

    async def sending(self, notification: str) -> None:
        """Note that a notification is being sent, before it is. Raises NotLeading."""
        self._sending.add(notification)
        await self._deliver(
            notification, lambda it: replace(it, state=Delivery.SENDING, attempts=it.attempts + 1)
        )
        if self._journal.lease_lost:
            raise NotLeading(
                "sending a notification",
                came_back="another process leads the watch now",
                remedy="backstay watch status",
            )

    async def sent(self, notification: str, *, at: float) -> None:
        """Note that a notification was received."""
        await self._deliver(
            notification, lambda it: replace(it, state=Delivery.SENT, sent=at, error="")
        )
        self._sending.discard(notification)

    async def postpone(self, notification: str, *, until: float, error: str) -> None:
        """Note that a notification could not be sent, and is to be tried again."""
        await self._deliver(
            notification, lambda it: replace(it, state=Delivery.WAITING, next=until, error=error)
        )
        self._sending.discard(notification)

    async def give_up(self, notification: str, *, error: str, instead: Iterable[str] = ()) -> None:
        """Note that a notification cannot be sent, and send the same by other channels."""
        async with self._lock:
            for one in list(self._book.values()):
                for it in one.notifications:
                    if it.id == notification:
                        await self._enter(
                            of.with_replacement(one, it, error=error, instead=instead)
                        )
        self._sending.discard(notification)

    async def _deliver(
        self, notification: str, alter: Callable[[Notification], Notification]
    ) -> None:
        async with self._lock:
            for one in list(self._book.values()):
                for it in one.notifications:
                    if it.id == notification:
                        await self._enter(of.with_notification(one, alter(it)))

    async def _alter(
        self, incident: Incident, alter: Callable[[IncidentRecord], IncidentRecord]
    ) -> Incident:
        async with self._lock:
            number = self._now_called.get(incident.id, incident.id)
            known = self._book.get(number) or await self._over(number)
            if known is None:
                return incident
            altered = alter(known)
            await self._enter(altered)
            return altered.incident

    async def _enter(self, record: IncidentRecord) -> None:
        """Make a record what is known, and write it down."""
        number = record.incident.id
        self._book[number] = record
        self._unwritten.add(number)
        if self._spare is not None:
            spare = self._spare.store
            await self._spare.done(lambda: spare.put([record]))
        if self._works:
            await self._write()
        self._wake()

    def _fence(self) -> None:
        if self._journal.lease_lost:
            self.lease_lost.set()

    def _wake(self) -> None:
        if any(one.unsent for one in self._book.values()):
            self.changed.set()

    def _open_one(self, key: str) -> IncidentRecord | None:
        return next(
            (
                one
                for one in self._book.values()
                if one.incident.cause.key == key and one.incident.closed is None
            ),
            None,
        )

    async def _meet(self) -> None:
        """Read the journal and join it with what is known here; write what it has not."""
        if not self._works and await self._journal.asked(self._read) is None:
            # Read without the lock: nothing waits for a journal that does not come back.
            self._fence()
            return
        async with self._lock:
            found = await self._journal.asked(self._read)
            if found is None:
                self._fence()
                return
            self._leads = True
            for one in found:
                self._take_in(one)
            self._unwritten |= set(self._book)
            await self._write()
            await self._write_minutes()
            self._wake()

    def _read(self) -> list[IncidentRecord]:
        if not self._leads:
            self._journal.store.lead()
        damaged = list[DamagedIncident]()
        found = self._journal.store.live(list(self._book), damaged.append)
        self._damaged = tuple(f"{error}; {error.remedy}" for error in damaged)
        return found

    def _take_in(self, known: IncidentRecord) -> None:
        """Join what the journal has of one incident. One open under another number is the same."""
        number = known.incident.id
        mine = self._book.get(number)
        again = self._the_same(known.incident)
        if mine is not None:
            self._book[number] = of.joined(mine, known)
        elif again is not None:
            del self._book[again.incident.id]
            self._book[number] = of.folded(known, again)
            self._now_called[again.incident.id] = number
            self._stale |= {number, again.incident.id}
        else:
            self._book[number] = known

    def _the_same(self, known: Incident) -> IncidentRecord | None:
        """Return what is here of the same incident under another number.

        It is the same where it began with the same line: the journal had written it after all.
        """
        for one in self._book.values():
            if one.incident.timeline[:1] == known.timeline[:1]:
                return one
        return None if known.closed else self._open_one(known.cause.key)

    async def _write(self) -> None:
        """Write what the journal lacks; then drop what is resolved and notified."""
        stale = list(self._stale)
        records = [self._book[number] for number in self._unwritten if number in self._book]
        if not await self._journal.done(lambda: self._journal.store.put(records, instead_of=stale)):
            self._fence()
            return
        self._unwritten.clear()
        self._stale.clear()
        over = [number for number, one in self._book.items() if one.finished]
        for number in over:
            del self._book[number]
        if self._spare is not None and over + stale:
            spare = self._spare.store
            again = [self._book[number] for number in stale if number in self._book]
            await self._spare.done(lambda: spare.put(again, instead_of=over + stale))

    async def _write_minutes(self) -> None:
        minutes = list(self._minutes)
        if minutes and await self._journal.done(lambda: self._journal.store.keep(minutes)):
            self._minutes.clear()
