"""What is told together: the tellings of one channel that make one message. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.notification import Notification, NotificationEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSection:
    """What a message says of one incident: one event, for ``notifications`` (their ids)."""

    incident: Incident
    event: NotificationEvent
    notifications: tuple[str, ...]


def next_batch(
    due: Sequence[tuple[Notification, Incident]], *, grouped: bool
) -> list[tuple[Notification, Incident]]:
    """Return what goes out next of one channel's due tellings, the oldest first.

    Without ``grouped`` that is one. What was tried before goes out again as it was, without what
    came later: a message that was received, but not noted as sent, is then known again by its id.
    A channel has only one message under way, so what was tried and not sent is just that one.
    """
    ordered = sorted(due, key=lambda one: one[0].made)
    if not grouped:
        return ordered[:1]
    return [one for one in ordered if one[0].attempts] or ordered


def pieces(batch: Sequence[tuple[Notification, Incident]]) -> list[MessageSection]:
    """Return what is said of each incident, in the order in which they came up.

    Of several words on one incident the last that matters is said: what is over need not be told
    as begun. Each word tells all that is known, so that nothing is lost by it.
    """
    incidents: dict[int, Incident] = {}
    words: dict[int, list[NotificationEvent]] = {}
    ids: dict[int, list[str]] = {}
    for notification, incident in batch:
        incidents[incident.id] = incident
        words.setdefault(incident.id, []).append(notification.event)
        ids.setdefault(incident.id, []).append(notification.id)
    return [
        MessageSection(
            incident=incident, event=_said(words[number]), notifications=tuple(ids[number])
        )
        for number, incident in incidents.items()
    ]


_ACTS = {NotificationEvent.APPROVAL_REQUESTED, NotificationEvent.ACTION_TAKEN}


def _said(words: Sequence[NotificationEvent]) -> NotificationEvent:
    if NotificationEvent.RESOLVED in words:
        return NotificationEvent.RESOLVED
    acts = [event for event in words if event in _ACTS]
    if acts:
        return acts[-1]
    return (
        NotificationEvent.OPENED if NotificationEvent.OPENED in words else NotificationEvent.UPDATED
    )
