"""The cloud at a glance: the headline, and a summary of each host. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from backstay.finding import bad
from backstay.inventory.cloud import Cloud
from backstay.quantities import duration
from backstay.watch.detect.probe import Subject
from backstay.watch.detect.status import Silence, Snapshot, State, TargetStatus
from backstay.watch.incidents.incident import Incident, Urgency

STALE = 15.0
"""Seconds after which a snapshot is too old to say anything about the cloud."""

_WORST_FIRST = (State.DOWN, State.SUSPECT, State.RECOVERING, State.UNKNOWN, State.UP)


class Level(StrEnum):
    """How serious the headline is: it decides its colour and its sign."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The state of the cloud in one line.

    ``since`` is the Unix time that belongs to it, if any; ``time_label`` says what it is.
    """

    level: Level
    text: str
    since: float | None = None
    time_label: str = "since"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host, or the cloud as a whole (no name), with its targets, worst first."""

    name: str
    roles: str
    state: State
    targets: tuple[TargetStatus, ...]
    silence: Silence | None

    @property
    def detailed(self) -> list[TargetStatus]:
        """Return the targets that get a tile: not up, or with a latency."""
        return [target for target in self.targets if target.state is not State.UP or target.recent]

    @property
    def compact(self) -> list[TargetStatus]:
        """Return the targets that are only named: up, without a latency."""
        return [target for target in self.targets if target.state is State.UP and not target.recent]

    @property
    def summary(self) -> str:
        """Return the state in words: ``2 of 9 down``, ``all 9 up``."""
        count = len(self.targets)
        if self.state is State.UP:
            return f"all {count} up" if count > 1 else "up"
        found = sum(target.state is self.state for target in self.targets)
        return f"{found} of {count} {self.state}" if count > 1 else str(self.state)


def label(subject: Subject) -> str:
    """Return the name of a target beneath its host: ``keystone token``, ``nova-compute``."""
    if subject.service in {"host", "agent"} or subject.name.startswith(subject.service):
        return subject.name
    return f"{subject.service} {subject.name}"


def headline(
    snapshot: Snapshot,
    incidents: Sequence[Incident],
    *,
    now: float,
    resolved_at: float | None = None,
) -> Headline:
    """Return the headline; ``resolved_at`` is when the last incident was resolved."""
    unwatched = _unwatched(snapshot, now)
    if incidents:
        open_ = _incidents(incidents)
        return open_ if unwatched is None else _last_known(open_, unwatched)
    if unwatched is not None:
        return unwatched
    silent = {silence.host for silence in snapshot.silences}
    targets = [target for target in snapshot.targets.values() if target.subject.host not in silent]
    return (
        _unconfirmed(targets)
        or _incomplete(snapshot, targets)
        or _operational(targets, resolved_at)
    )


def _unconfirmed(targets: Sequence[TargetStatus]) -> Headline | None:
    """Return a headline for targets that are not up, without an incident so far."""
    failing = [target for target in targets if target.state in {State.SUSPECT, State.DOWN}]
    if failing:
        first = min(failing, key=lambda target: target.since)
        more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
        text = f"Possible fault: {first.subject.host or 'cloud'} {label(first.subject)}{more}"
        return Headline(level=Level.WARNING, text=text, since=first.since)
    recovering = sum(target.state is State.RECOVERING for target in targets)
    if recovering:
        return Headline(level=Level.WARNING, text=f"No target is down, {recovering} recovering")
    return None


def _incomplete(snapshot: Snapshot, targets: Sequence[TargetStatus]) -> Headline | None:
    """Return a headline if what was observed does not show that everything works."""
    if not any(target.state is State.UP for target in targets):
        return Headline(level=Level.WARNING, text="No probe results yet")
    if snapshot.problems:
        text = "No target is down, but the watch itself has a problem"
        return Headline(level=Level.WARNING, text=text)
    silent = {silence.host for silence in snapshot.silences}
    failed = [finding for finding in bad(snapshot.findings) if finding.host not in silent]
    if failed:
        count = f"{len(failed)} problem{'s' if len(failed) > 1 else ''}"
        return Headline(
            level=Level.WARNING,
            text=f"No target is down, but the last check reported {count}",
            since=snapshot.checked_at,
            time_label="at",
        )
    unknown = sum(target.state is State.UNKNOWN for target in targets)
    if unknown:
        text = f"No target is down; the state of {unknown} of {len(targets)} is unknown"
        return Headline(level=Level.WARNING, text=text)
    return None


def _operational(targets: Sequence[TargetStatus], resolved_at: float | None) -> Headline:
    since = max([target.since for target in targets] + ([resolved_at] if resolved_at else []))
    return Headline(level=Level.OK, text="All systems operational", since=since)


def _incidents(incidents: Sequence[Incident]) -> Headline:
    critical = [incident for incident in incidents if incident.cause.urgency is Urgency.CRITICAL]
    first = min(critical or incidents, key=lambda incident: incident.began)
    count = f"{len(incidents)} incident{'s' if len(incidents) > 1 else ''}"
    of_them = f", {len(critical)} critical" if critical and len(incidents) > 1 else ""
    return Headline(
        level=Level.CRITICAL if critical else Level.WARNING,
        text=f"{count}{of_them}: {first.cause.title}",
        since=first.began,
    )


def _last_known(incidents: Headline, unwatched: Headline) -> Headline:
    text = f"{unwatched.text}. Last recorded as open: {incidents.text}"
    return Headline(level=incidents.level, text=text, since=incidents.since)


def _unwatched(snapshot: Snapshot, now: float) -> Headline | None:
    """Return a headline if this process does not lead, or its snapshot is stale."""
    if not snapshot.leading:
        leader = f"the leader is {snapshot.leader}" if snapshot.leader else "no leader is known"
        return Headline(level=Level.WARNING, text=f"This process stands by; {leader}")
    if now - snapshot.at > STALE:
        text = f"No probe results for {duration(now - snapshot.at)}"
        return Headline(level=Level.CRITICAL, text=text, since=snapshot.at, time_label="last at")
    return None


def hosts(snapshot: Snapshot, cloud: Cloud) -> list[HostView]:
    """Return every watched host, those with faults first, then in the order of cloud.yaml."""
    silences = {silence.host: silence for silence in snapshot.silences}
    by_host: dict[str, list[TargetStatus]] = {}
    for status in snapshot.targets.values():
        by_host.setdefault(status.subject.host, []).append(status)
    names = [name for name in ("", *cloud.hosts) if name in by_host]
    names += sorted(set(by_host) - set(names))
    views = [
        HostView(
            name=name,
            roles=", ".join(cloud.hosts[name].roles) if name in cloud.hosts else "",
            state=min(by_host[name], key=_rank).state,
            targets=tuple(sorted(by_host[name], key=_rank)),
            silence=silences.get(name),
        )
        for name in names
    ]
    return sorted(views, key=_order)


def _rank(target: TargetStatus) -> int:
    return _WORST_FIRST.index(target.state)


def _order(view: HostView) -> int:
    return len(_WORST_FIRST) if view.silence is not None else _WORST_FIRST.index(view.state)
