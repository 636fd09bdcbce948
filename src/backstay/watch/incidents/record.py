"""The record of an incident: it with its notifications; how it grows, how two copies merge.

Pure. One incident may be written in two places, as one of them could not be written for a while.
Copies are only ever added to, so that joining them in any order, any number of times, gives the
same, and loses nothing.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from backstay.watch.incidents.incident import Cause, Incident, TimelineEntry
from backstay.watch.incidents.notification import Delivery, Notification, NotificationEvent

UNNUMBERED = 1_000_000_000
"""Incidents from this number on were opened while the journal could not give them the next one."""
_NUMBERS = 1_147_000_000  # up to the largest number of 32 bits
_FINAL = {Delivery.FAILED: 1, Delivery.SENT: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord:
    """An incident, and its notifications in the order in which they were made."""

    incident: Incident
    notifications: tuple[Notification, ...] = ()

    @property
    def unsent(self) -> tuple[Notification, ...]:
        """Return the notifications that are still to be sent."""
        return tuple(one for one in self.notifications if one.state not in _FINAL)

    @property
    def finished(self) -> bool:
        """Return whether it is resolved and all its notifications are final."""
        return self.incident.closed is not None and not self.unsent


def unnumbered(cloud: str, cause: Cause, at: float) -> int:
    """Return a number for an incident that the journal cannot number, another for each."""
    return UNNUMBERED + zlib.crc32(f"{cloud} {cause.key} {at}".encode()) % _NUMBERS


def opened_record(
    number: int, cloud: str, cause: Cause, *, began: float, at: float, channels: Iterable[str]
) -> IncidentRecord:
    """Return a new incident's."""
    first = TimelineEntry(at=at, kind="opened", text=cause.title)
    incident = Incident(
        id=number, cloud=cloud, cause=cause, began=began, opened=at, timeline=(first,)
    )
    return _describe(IncidentRecord(incident=incident), NotificationEvent.OPENED, at, channels)


def updated(
    record: IncidentRecord, cause: Cause, *, at: float, text: str, channels: Iterable[str] = ()
) -> IncidentRecord:
    """Return it with more, or something else, known of its cause."""
    incident = replace(record.incident, cause=cause)
    return _describe(
        _with(replace(record, incident=incident), at, "updated", text),
        NotificationEvent.UPDATED,
        at,
        channels,
    )


def noted(
    record: IncidentRecord,
    kind: str,
    text: str,
    *,
    at: float,
    run: str | None = None,
    event: NotificationEvent | None = None,
    channels: Iterable[str] = (),
) -> IncidentRecord:
    """Return it with one more line; ``run`` was started for it; ``event`` is notified, if given."""
    if run is not None:
        record = replace(record, incident=replace(record.incident, run=run))
    record = _with(record, at, kind, text)
    return record if event is None else _describe(record, event, at, channels)


def resolved(
    record: IncidentRecord, *, at: float, text: str, channels: Iterable[str]
) -> IncidentRecord:
    """Return it over; one that is over already stays as it is."""
    if record.incident.closed is not None:
        return record
    record = replace(record, incident=replace(record.incident, closed=at))
    return _describe(_with(record, at, "resolved", text), NotificationEvent.RESOLVED, at, channels)


def with_notification(record: IncidentRecord, notification: Notification) -> IncidentRecord:
    """Return it with a notification as it is now."""
    return replace(
        record,
        notifications=tuple(
            notification if o.id == notification.id else o for o in record.notifications
        ),
    )


def with_replacement(
    record: IncidentRecord, notification: Notification, *, error: str, instead: Iterable[str]
) -> IncidentRecord:
    """Return it with a notification that cannot be sent, and the same for other channels."""
    failed = replace(notification, state=Delivery.FAILED, error=error)
    return _describe(
        with_notification(record, failed), notification.event, notification.made, instead
    )


def _with(record: IncidentRecord, at: float, kind: str, text: str) -> IncidentRecord:
    timeline = (*record.incident.timeline, TimelineEntry(at=at, kind=kind, text=text))
    return replace(record, incident=replace(record.incident, timeline=timeline))


def _describe(
    record: IncidentRecord, event: NotificationEvent, at: float, channels: Iterable[str]
) -> IncidentRecord:
    """Add a notification for each channel; its id has incident, event, count and channel."""
    notifications = list(record.notifications)
    for channel in channels:
        count = sum((one.event, one.channel) == (event, channel) for one in notifications)
        notifications.append(
            Notification(
                id=f"{record.incident.id}.{event}.{count}.{channel}"[:80],
                incident=record.incident.id,
                channel=channel,
                event=event,
                state=Delivery.WAITING,
                attempts=0,
                made=at,
                next=at,
            )
        )
    return replace(record, notifications=tuple(notifications))


def joined(one: IncidentRecord, other: IncidentRecord) -> IncidentRecord:
    """Return what two copies of one record hold together."""
    first, second = sorted(
        (one, other), key=lambda it: (len(it.incident.timeline), it.incident.run), reverse=True
    )
    ends = [it.incident.closed for it in (one, other) if it.incident.closed is not None]
    notifications = {notification.id: notification for notification in first.notifications}
    for notification in second.notifications:
        known = notifications.get(notification.id, notification)
        notifications[notification.id] = max(known, notification, key=_progress)
    return IncidentRecord(
        incident=replace(
            first.incident,
            began=min(one.incident.began, other.incident.began),
            opened=min(one.incident.opened, other.incident.opened),
            closed=min(ends, default=None),
            run=first.incident.run or second.incident.run,
            timeline=_together(first.incident.timeline, second.incident.timeline),
        ),
        notifications=tuple(sorted(notifications.values(), key=lambda it: (it.made, it.id))),
    )


def folded(known: IncidentRecord, again: IncidentRecord) -> IncidentRecord:
    """Return one incident of two that turn out to be the same: the known one's, with all of both.

    That one of them was opened is not notified again for the other.
    """
    number = known.incident.id
    renumbered = replace(
        again,
        incident=replace(
            again.incident,
            id=number,
            timeline=tuple(it for it in again.incident.timeline if it.kind != "opened"),
        ),
        notifications=tuple(replace(it, incident=number) for it in again.notifications),
    )
    both = joined(known, renumbered)
    cause = max((again, known), key=lambda it: it.incident.opened).incident.cause
    return IncidentRecord(
        incident=replace(both.incident, cause=cause), notifications=_once(both.notifications)
    )


def _once(notifications: Sequence[Notification]) -> tuple[Notification, ...]:
    """Return the notifications with one ``opened`` for each channel."""
    best: dict[str, Notification] = {}
    for one in notifications:
        if one.event is NotificationEvent.OPENED:
            known = best.get(one.channel, one)
            best[one.channel] = max(known, one, key=_progress)
    return tuple(
        one
        for one in notifications
        if one.event is not NotificationEvent.OPENED
        or one.state in _FINAL
        or one is best[one.channel]
    )


def _together(
    one: Sequence[TimelineEntry], other: Sequence[TimelineEntry]
) -> tuple[TimelineEntry, ...]:
    lines = [*one, *(line for line in other if line not in one)]
    return tuple(sorted(lines, key=lambda it: it.at))


def _progress(notification: Notification) -> tuple[int, int, bool, float]:
    """Return how far a notification is, to compare two copies of it: it never goes back."""
    waits = notification.state is Delivery.WAITING  # again, after an attempt of the same count
    return (_FINAL.get(notification.state, 0), notification.attempts, waits, notification.next)
