"""Routing: which channels an incident is sent to, in which batches, and the fallbacks. Pure."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from backstay.inventory.watch import Channel, Watch
from backstay.watch.incidents.incident import Incident, Urgency
from backstay.watch.incidents.notification import Notification, NotificationEvent

BOUND = 10.0
"""Seconds for one attempt to send."""

Batch = Sequence[tuple[Notification, Incident]]
"""Notifications that one channel sends together, each with its incident."""
ApprovalCommand = Callable[[Incident], str]
"""Returns the command that approves what an incident waits for, "" if it waits for nothing."""


def channels_for(watch: Watch, urgency: Urgency) -> tuple[str, ...]:
    """Return the names of the channels for an incident of this urgency.

    Fallbacks are not among them, unless there are no others.
    """
    willing = {name: one for name, one in watch.channels.items() if _takes(one, urgency)}
    return tuple(name for name, one in willing.items() if not one.fallback) or tuple(willing)


def instead_of(
    watch: Watch,
    channel: str,
    urgency: Urgency,
    *,
    failing: Collection[str],
    have: Collection[str],
) -> tuple[str, ...] | None:
    """Return the channels for what ``channel`` cannot send; None where none is left: keep trying.

    ``failing`` are the channels that do not work, ``have`` those that have sent the same. Fallbacks
    come first; without any, no other is needed if others have it. Then come the others for such
    incidents, and then any that works, however urgent it wants things to be.
    """
    able = {
        name: one
        for name, one in watch.channels.items()
        if name != channel and name not in failing and name not in have
    }
    fallbacks = tuple(name for name, one in able.items() if one.fallback)
    if fallbacks:
        return fallbacks
    if set(have) - {channel}:
        return ()
    usual = tuple(name for name, one in able.items() if _takes(one, urgency))
    return usual or tuple(able)[:1] or None


def _takes(channel: Channel, urgency: Urgency) -> bool:
    return urgency is Urgency.CRITICAL or channel.least == "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSection:
    """What a message says of one incident: one event, for ``notifications`` (their ids)."""

    incident: Incident
    event: NotificationEvent
    notifications: tuple[str, ...]


def next_batch(due: Batch, *, grouped: bool) -> list[tuple[Notification, Incident]]:
    """Return what goes out next of one channel's due notifications, the oldest first.

    Without ``grouped`` that is one. What was tried before goes out again as it was, without what
    came later: a message that was received, but not noted as sent, is then known again by its id.
    A channel has only one message under way, so what was tried and not sent is just that one.
    """
    ordered = sorted(due, key=lambda one: one[0].made)
    if not grouped:
        return ordered[:1]
    return [one for one in ordered if one[0].attempts] or ordered


def in_ascii(incident: Incident) -> Incident:
    """Return an incident whose texts every receiver can take: what is not ASCII is escaped."""
    cause = incident.cause
    return replace(
        incident,
        cause=replace(
            cause,
            title=_ascii(cause.title),
            evidence=tuple(map(_ascii, cause.evidence)),
            impact=_ascii(cause.impact),
            remedy=_ascii(cause.remedy),
            symptoms=tuple(map(_ascii, cause.symptoms)),
        ),
        timeline=tuple(replace(one, text=_ascii(one.text)) for one in incident.timeline),
    )


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def sections(batch: Batch) -> list[MessageSection]:
    """Return what is said of each incident, in the order in which they came up.

    Of several events of one incident the most important is sent: an incident that is resolved need
    not be sent as opened. Each message has everything that is known, so that nothing is lost.
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
            incident=incident,
            event=_most_important(words[number]),
            notifications=tuple(ids[number]),
        )
        for number, incident in incidents.items()
    ]


_ACTS = {NotificationEvent.APPROVAL_REQUESTED, NotificationEvent.ACTION_TAKEN}


def _most_important(words: Sequence[NotificationEvent]) -> NotificationEvent:
    if NotificationEvent.RESOLVED in words:
        return NotificationEvent.RESOLVED
    acts = [event for event in words if event in _ACTS]
    if acts:
        return acts[-1]
    return (
        NotificationEvent.OPENED if NotificationEvent.OPENED in words else NotificationEvent.UPDATED
    )
