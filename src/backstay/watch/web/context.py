"""What responses are made from: snapshot, records, cloud.yaml. Nothing here asks the cloud."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.records import JournalError
from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.store import Minute
from backstay.watch.web.access import Access
from backstay.watch.web.records import RecordReader

Approve = Callable[[int, str, str], Awaitable[str]]
"""Approves the run that waits for an incident: number, code, name of the person.

Returns a message on what happens next. Raises BackstayError if the code is wrong, used or expired.
"""

_HISTORY_SECONDS = 30.0
_HISTORIES = 8


@dataclass(kw_only=True)
class PageContext:
    """Everything that pages and the API are made from."""

    feed: SnapshotFeed
    reader: RecordReader
    cloud: Cloud
    access: Access
    approve: Approve | None
    _histories: dict[tuple[str, float], tuple[float, list[Minute]]] = field(default_factory=dict)

    async def incident(self, number: int) -> Incident | None:
        """Return an incident, the newest without a call of the database. Raises JournalError."""
        records = self.reader.wanted()
        known = {incident.id: incident for incident in (*records.resolved, *records.open)}
        return known.get(number) or await self.reader.ask(
            lambda: self.reader.store.incident(number)
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
