"""The cloud at a glance: the one sentence, and what there is to say of each host. Pure."""

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
"""Seconds after which what stands on the board is no news any more."""

_BAD_FIRST = (State.DOWN, State.SUSPECT, State.RECOVERING, State.UNKNOWN, State.UP)
_WORDS = {
    State.UP: "up",
    State.SUSPECT: "in doubt",
    State.DOWN: "down",
    State.RECOVERING: "recovering",
    State.UNKNOWN: "not known",
}


class Level(StrEnum):
    """How the sentence on top is meant: it decides its colour and its sign."""

    WELL = "well"
    DOUBT = "doubt"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The sentence on top; ``since`` is a Unix time that belongs to its end, where it has one."""

    mood: Level
    text: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host, or the cloud as a whole, with what is watched of it, the worst first."""

    name: str
    roles: str
    state: State
    standings: tuple[TargetStatus, ...]
    silence: Silence | None

    @property
    def drawn(self) -> list[TargetStatus]:
        """Return what is worth a place of its own: what is not up, and what has a latency."""
        return [one for one in self.standings if one.state is not State.UP or one.recent]

    @property
    def plain(self) -> list[TargetStatus]:
        """Return the rest, of which there is nothing to say but that it is up."""
        return [one for one in self.standings if one.state is State.UP and not one.recent]

    @property
    def says(self) -> str:
        """Return how it stands, in words: ``2 of 9 down``, ``all 9 up``."""
        count = len(self.standings)
        if self.state is State.UP:
            return f"all {count} up" if count > 1 else "up"
        found = sum(one.state is self.state for one in self.standings)
        return f"{found} of {count} {word(self.state)}" if count > 1 else word(self.state)


def word(state: State) -> str:
    """Return a state as people say it."""
    return _WORDS[state]


def label(subject: Subject) -> str:
    """Return what a subject is called beneath its host: ``keystone token``, ``nova-compute``."""
    if subject.service in {"host", "agent"} or subject.name.startswith(subject.service):
        return subject.name
    return f"{subject.service} {subject.name}"


def headline(
    snapshot: Snapshot, incidents: Sequence[Incident], *, now: float, over_at: float | None = None
) -> Headline:
    """Return the sentence; ``over_at`` is when the last incident was over."""
    not_watched = _not_watched(snapshot, now)
    if incidents:
        told = _incidents(incidents)
        return told if not_watched is None else _with(told, not_watched)
    if not_watched is not None:
        return not_watched
    silent = {one.host for one in snapshot.silences}
    standings = [one for one in snapshot.standings.values() if one.subject.host not in silent]
    return _in_doubt(standings) or _not_seen_well(snapshot, standings) or _well(standings, over_at)


def _in_doubt(standings: Sequence[TargetStatus]) -> Headline | None:
    """Say what is not up, and is no incident, or none yet."""
    doubts = [one for one in standings if one.state in {State.SUSPECT, State.DOWN}]
    if doubts:
        first = min(doubts, key=lambda one: one.since)
        more = f", and {len(doubts) - 1} more" if len(doubts) > 1 else ""
        text = f"In doubt: {first.subject.host or 'cloud'} {label(first.subject)}{more}, since"
        return Headline(mood=Level.DOUBT, text=text, since=first.since)
    returning = sum(one.state is State.RECOVERING for one in standings)
    if returning:
        return Headline(mood=Level.DOUBT, text=f"{returning} recovering, nothing is down")
    return None


def _not_seen_well(snapshot: Snapshot, standings: Sequence[TargetStatus]) -> Headline | None:
    """Say what keeps us from knowing that all is well: nobody claims what was not seen."""
    if not any(one.state is State.UP for one in standings):
        return Headline(mood=Level.DOUBT, text="Nothing is known of this cloud yet")
    if snapshot.troubles:
        text = "Nothing is seen to be down, but the watch itself has a trouble"
        return Headline(mood=Level.DOUBT, text=text)
    silent = {one.host for one in snapshot.silences}
    failed = [one for one in bad(snapshot.findings) if one.host not in silent]
    if failed:
        many = "findings that are" if len(failed) > 1 else "finding that is"
        text = (
            f"Nothing is seen to be down, but the last check had {len(failed)} {many} not good, at"
        )
        return Headline(mood=Level.DOUBT, text=text, since=snapshot.checked_at)
    unknown = sum(one.state is State.UNKNOWN for one in standings)
    if unknown:
        text = f"Nothing is seen to be down; of {unknown} of {len(standings)} nothing is known"
        return Headline(mood=Level.DOUBT, text=text)
    return None


def _well(standings: Sequence[TargetStatus], over_at: float | None) -> Headline:
    since = max([one.since for one in standings] + ([over_at] if over_at else []))
    return Headline(mood=Level.WELL, text="All is well since", since=since)


def _incidents(incidents: Sequence[Incident]) -> Headline:
    critical = [one for one in incidents if one.cause.urgency is Urgency.CRITICAL]
    first = min(critical or incidents, key=lambda one: one.began)
    count = f"{len(incidents)} incident{'s' if len(incidents) > 1 else ''}"
    of_them = f", {len(critical)} critical" if critical and len(incidents) > 1 else ""
    return Headline(
        mood=Level.BAD if critical else Level.DOUBT,
        text=f"{count}{of_them}: {first.cause.title}, since",
        since=first.began,
    )


def _with(told: Headline, not_watched: Headline) -> Headline:
    text = f"{not_watched.text}. Open when it was last written down: {told.text}"
    return Headline(mood=told.mood, text=text, since=told.since)


def _not_watched(snapshot: Snapshot, now: float) -> Headline | None:
    if not snapshot.leading:
        by = f"{snapshot.leader} watches" if snapshot.leader else "nobody is known to watch"
        text = f"This is not the process that watches: {by}"
        return Headline(mood=Level.DOUBT, text=text)
    if now - snapshot.at > STALE:
        text = f"The watch has not looked for {duration(now - snapshot.at)}; last at"
        return Headline(mood=Level.BAD, text=text, since=snapshot.at)
    return None


def hosts(snapshot: Snapshot, cloud: Cloud) -> list[HostView]:
    """Return every host that is watched, those with troubles first, then as in cloud.yaml."""
    silences = {one.host: one for one in snapshot.silences}
    by_host: dict[str, list[TargetStatus]] = {}
    for standing in snapshot.standings.values():
        by_host.setdefault(standing.subject.host, []).append(standing)
    in_order = [*[name for name in ("", *cloud.hosts) if name in by_host]]
    in_order += sorted(set(by_host) - set(in_order))
    views = [
        HostView(
            name=name,
            roles=", ".join(cloud.hosts[name].roles) if name in cloud.hosts else "",
            state=min((one.state for one in by_host[name]), key=_BAD_FIRST.index),
            standings=tuple(sorted(by_host[name], key=lambda one: _BAD_FIRST.index(one.state))),
            silence=silences.get(name),
        )
        for name in in_order
    ]
    return sorted(views, key=lambda view: _order(view, silenced=view.silence is not None))


def _order(view: HostView, *, silenced: bool) -> int:
    return len(_BAD_FIRST) if silenced else _BAD_FIRST.index(view.state)
