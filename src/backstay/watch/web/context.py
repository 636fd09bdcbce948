"""What responses are made from: snapshot, records, cloud.yaml. Nothing here asks the cloud."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.records import JournalError
from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.notification import Notification
from backstay.watch.incidents.store import Minute
from backstay.watch.web.access import Access
from backstay.watch.web.records import RecordReader

Approve = Callable[[int, str, str], Awaitable[str]]
"""Approves the run that waits for an incident: number, code, name of the person.

Returns a message on what happens next. Raises BackstayError if the code is wrong, used or expired.
"""

_HISTORY_SECONDS = 30.0
_HISTORIES = 8
_SHARED_SECONDS = 1.0
_MOST_SHARED = 64

T = TypeVar("T")


class Shared:
    """What requests of the same moment share: made once, however many ask for it.

    A page of a thousand hosts takes some 30 ms: 64 live streams that each made their own would
    leave the event loop no time for probes.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, tuple[float, object, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, state: object, make: Callable[[], Awaitable[T]]) -> T:
        """Return what ``make`` returns, or returned less than a second ago for the same state.

        Raises what it raises.
        """
        now, loop = time.monotonic(), asyncio.get_running_loop()
        at, known, task = self._made.get(key, (0.0, None, None))
        if task is None or now - at > _SHARED_SECONDS or known != state or task.get_loop() != loop:
            task = asyncio.ensure_future(_made(make))
            # Read here as well: whoever waited for it may have gone.
            task.add_done_callback(lambda one: one.cancelled() or one.exception())
            self._made[key] = now, state, task
            self._made.move_to_end(key)
            while len(self._made) > _MOST_SHARED:
                self._made.popitem(last=False)
        found: T = await asyncio.shield(task)
        return found


async def _made(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


@dataclass(kw_only=True)
class PageContext:
    """Everything that pages and the API are made from."""

    feed: SnapshotFeed
    reader: RecordReader
    cloud: Cloud
    access: Access
    approve: Approve | None
    shared: Shared = field(default_factory=Shared)
    _histories: dict[tuple[str, float], tuple[float, list[Minute]]] = field(default_factory=dict)

    async def incident(self, number: int) -> Incident | None:
        """Return an incident, the newest without a call of the database. Raises JournalError."""
        records = self.reader.wanted()
        known = {incident.id: incident for incident in (*records.resolved, *records.open)}
        return known.get(number) or await self.reader.ask(
            lambda: self.reader.store.incident(number)
        )

    @property
    def state(self) -> object:
        """Return what pages are made from; it is another object as soon as anything changes."""
        return id(self.feed.snapshot), self.feed.snapshot.at, self.reader.records.at

    async def notifications(self, incident: int) -> list[Notification]:
        """Return the notifications of an incident. Raises JournalError."""
        return await self.shared.get(
            ("notifications", incident),
            self.state,
            lambda: self.reader.ask(lambda: self.reader.store.notifications(incident=incident)),
        )

    async def history(self, target: str, seconds: float) -> list[Minute]:
        """Return the probes of a target in the last seconds, by minute. Raises JournalError."""
        key, now = (target, seconds), time.time()
        at, known = self._histories.get(key, (0.0, []))
        if now - at < _HISTORY_SECONDS:
            return known
        since = now - seconds
        found = await self.reader.ask(
            lambda: self.reader.store.history(since=since, subject=target)
        )
        if len(self._histories) >= _HISTORIES:
            self._histories.clear()
        self._histories[key] = (now, found)
        return found


class NotThere(BackstayError):
    """There is nothing of that name to show."""


def not_there(what: str, remedy: str = "choose one from the list") -> NotThere:
    """Return the error for something that does not exist."""
    return NotThere(f"looking for {what}", came_back="not found", remedy=remedy)


def approval_unknown(incident: int) -> BackstayError:
    """Return the error for an approval that may or may not have been recorded."""
    return JournalError(
        f"approving the run that waits for incident {incident}",
        came_back="the journal did not answer in time: it may have been approved or not",
        remedy="check whether the run starts before you try again: backstay runs list",
    )
