"""The text of a message about incidents, for a phone at two in the morning. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from backstay.quantities import exact
from backstay.watch.incidents.incident import Incident, Kind, TimelineEntry, Urgency
from backstay.watch.incidents.notification import Notification, NotificationEvent
from backstay.watch.notify.routing import MessageSection

_STATES = {
    Kind.SERVICE_FAILED: "DOWN",
    Kind.SERVICE_HUNG: "HUNG",
    Kind.AGENT_NOT_PROCESSING: "NOT PROCESSING",
    Kind.AGENT_DOWN: "DOWN",
    Kind.BROKER_UNREACHABLE: "UNREACHABLE",
    Kind.HOST_UNREACHABLE: "UNREACHABLE",
    Kind.HOST_OFF: "OFF",
    Kind.HOST_DEAD: "DEAD",
    Kind.FENCED_HOST_ON: "ON",
    Kind.DUPLICATE_ADDRESS: "TWO HOSTS",
    Kind.MONITORING_HOST_ISOLATED: "ISOLATED",
    Kind.FINDING: "FAILED",
    Kind.CHANNEL_FAILED: "FAILED",
}
_WIDEST = 300  # characters of one line of evidence
_MOST = 12  # lines of evidence, or of what happened
_SUBJECT = 160
_RULE = "\n" + "-" * 40 + "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message on one incident or several.

    ``id`` is the same in each attempt, ``follows`` the id of the one to which it belongs (empty for
    the first on an incident). ``text`` is for mail, ``short`` for a chat.
    """

    id: str
    follows: str
    subject: str
    text: str
    short: str


def message(
    batch: Sequence[tuple[Notification, Incident]],
    said: Sequence[MessageSection],
    *,
    approval: Callable[[Incident], str] = lambda _: "",
    zone: tzinfo | None = None,
) -> Message:
    """Return the message in which a batch of one channel's notifications goes out.

    ``said`` is what ``grouping.pieces`` says of the batch. ``approval`` gives the command that
    approves what is asked for. Times are in ``zone``, None being this machine's.
    """
    first, incident = batch[0]
    shown = sorted(said, key=_rank)
    subject = headline(shown[0].incident, shown[0].event)
    if len(shown) > 1:
        subject += f" (and {len(shown) - 1} more)"
    own = {notification.event for notification, _ in batch}
    follows = (
        ""
        if len(shown) > 1 or NotificationEvent.OPENED in own
        else _opening(first.channel, incident)
    )
    return Message(
        id=known_as(first, incident.cloud),
        follows=follows,
        subject=f"[{incident.cloud}] {subject}"[:_SUBJECT],
        text=_RULE.join(text(one.incident, one.event, approval, zone) for one in shown),
        short="\n\n".join(short(one.incident, one.event, approval, zone) for one in shown),
    )


def known_as(notification: Notification, cloud: str) -> str:
    """Return the id by which receivers know a notification again, as mail's Message-ID is written.

    It holds the cloud and the time: the numbers of incidents restart with a new journal.
    """
    return _id(notification.id, notification.made, cloud)


def headline(incident: Incident, event: NotificationEvent) -> str:
    """Return one line: ``DOWN: MariaDB on controller does not answer``."""
    return _one_line(f"{_state(incident, event)}: {incident.cause.title}")


def text(
    incident: Incident,
    event: NotificationEvent,
    approval: Callable[[Incident], str] = lambda _: "",
    zone: tzinfo | None = None,
) -> str:
    """Return all that is known, the most needed first."""
    cause = incident.cause
    lines = [headline(incident, event), _when(incident, event, zone), *_news(incident, event), ""]
    if event is not NotificationEvent.RESOLVED:
        lines += [f"Impact:     {_one_line(cause.impact)}"] if cause.impact else []
        lines += [f"Remedy:     {_one_line(cause.remedy)}"] if cause.remedy else []
        lines += [f"Approve by: {approval(incident)}"] if _asks(incident, event, approval) else []
    lines += [f"Run:        backstay runs show {incident.run}"] if incident.run else []
    lines += ["", "Observed:", *_some(cause.evidence)] if cause.evidence else []
    lines += ["", _symptoms(cause.symptoms)] if cause.symptoms else []
    lines += ["", "Timeline:", *_timeline(incident.timeline, zone)]
    lines += ["", f"{incident.name}, cloud {incident.cloud}, {cause.kind}, {cause.urgency}"]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def short(
    incident: Incident,
    event: NotificationEvent,
    approval: Callable[[Incident], str] = lambda _: "",
    zone: tzinfo | None = None,
) -> str:
    """Return the same in a few lines."""
    cause = incident.cause
    lines = [headline(incident, event), _when(incident, event, zone), *_news(incident, event)]
    if event is not NotificationEvent.RESOLVED:
        lines += [f"Impact:     {_one_line(cause.impact)}"] if cause.impact else []
        lines += [f"Observed: {_one_line(cause.evidence[0])}"] if cause.evidence else []
        lines += (
            [f"{len(cause.symptoms)} more targets are down because of it"] if cause.symptoms else []
        )
        lines += [f"Remedy: {_one_line(cause.remedy)}"] if cause.remedy else []
        lines += [f"Approve by: {approval(incident)}"] if _asks(incident, event, approval) else []
    return "\n".join([*lines, incident.name])


def _state(incident: Incident, event: NotificationEvent) -> str:
    if event is NotificationEvent.RESOLVED:
        return f"RESOLVED after {exact(_until(incident) - incident.began)}"
    if event is NotificationEvent.APPROVAL_REQUESTED:
        return "APPROVAL REQUIRED"
    if event is NotificationEvent.ACTION_TAKEN:
        return "ACTION TAKEN"
    urgent = incident.cause.urgency is Urgency.CRITICAL
    state = _STATES[incident.cause.kind] if urgent else "WARNING"
    return f"NOW {state}" if event is NotificationEvent.UPDATED else state


def _when(incident: Incident, event: NotificationEvent, zone: tzinfo | None) -> str:
    began = datetime.fromtimestamp(incident.began, zone).astimezone(zone)
    if event is NotificationEvent.RESOLVED:
        ended = datetime.fromtimestamp(_until(incident), zone).astimezone(zone)
        day = "" if ended.date() == began.date() else f"{ended:%a %d %b} "
        return f"From {began:%a %d %b %H:%M:%S} to {day}{ended:%H:%M:%S %Z}"
    return f"Since {began:%a %d %b %H:%M:%S %Z}"


def _news(incident: Incident, event: NotificationEvent) -> list[str]:
    """Return the last line of the timeline that the event is about."""
    if event is NotificationEvent.OPENED:
        return []
    kinds = {event, "run_ended"} if event is NotificationEvent.ACTION_TAKEN else {event}
    shown = [one.text for one in incident.timeline if one.kind in kinds]
    return [_one_line(shown[-1])] if shown and shown[-1] else []


def _asks(
    incident: Incident, event: NotificationEvent, approval: Callable[[Incident], str]
) -> bool:
    return event is NotificationEvent.APPROVAL_REQUESTED and bool(approval(incident))


def _until(incident: Incident) -> float:
    if incident.closed is not None:
        return incident.closed
    return incident.timeline[-1].at if incident.timeline else incident.opened


def _some(lines: Sequence[str]) -> list[str]:
    shown = [f"  {_one_line(line)}" for line in lines[:_MOST]]
    return [*shown, f"  and {len(lines) - _MOST} more"] if len(lines) > _MOST else shown


def _symptoms(keys: Sequence[str]) -> str:
    """Return what is down because of it, host by host: what 40 lines would say."""
    hosts: dict[str, dict[str, None]] = {}
    for key in keys:
        host, service, name = (*key.split("/", 2), "", "")[:3]
        what = {"agent": name, "host": "the host itself"}.get(service, service)
        hosts.setdefault(host, {})[what or key] = None
    shown = "; ".join(
        ", ".join(what) + (" (the cloud's address)" if host == "cloud" else f" on {host}")
        for host, what in hosts.items()
    )
    return f"Also down ({len(keys)}): {shown}"


def _timeline(timeline: Sequence[TimelineEntry], zone: tzinfo | None) -> list[str]:
    """Return the last of what happened; the first line stays, whatever came between."""
    kept = timeline if len(timeline) <= _MOST else (timeline[0], *timeline[1 - _MOST :])
    lines = []
    for one in kept:
        at = datetime.fromtimestamp(one.at, zone).astimezone(zone)
        lines.append(f"  {at:%H:%M:%S} {one.kind}: {_one_line(one.text)}".rstrip(": "))
    if len(kept) < len(timeline):
        lines.insert(1, f"  … {len(timeline) - len(kept)} more")
    return lines


def _rank(section: MessageSection) -> tuple[bool, bool]:
    over = section.event is NotificationEvent.RESOLVED
    return over, section.incident.cause.urgency is not Urgency.CRITICAL


def _opening(channel: str, incident: Incident) -> str:
    """Return the id of the message by which a channel was notified that an incident was opened."""
    return _id(
        f"{incident.id}.{NotificationEvent.OPENED}.0.{channel}", incident.opened, incident.cloud
    )


def _id(notification: str, at: float, cloud: str) -> str:
    return re.sub(r"[^A-Za-z0-9.@_-]", "-", f"{notification}.{at * 1000:.0f}@{cloud}.backstay")


def _one_line(given: str) -> str:
    line = " ".join(given.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"


def test_text(cloud: str) -> str:
    """Return the text of a test message."""
    return (
        "This is a test message. No action is required: notifications about incidents in "
        f"{cloud} are sent by this channel.\n"
    )
