"""From standings to causes: one cause for all that it explains. Pure.

A dead host explains everything on it. The host of the database, the broker or keystone explains
what fails elsewhere as well; so does the database alone, and the broker the agents. What nothing
explains is a cause of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backstay.watch.detect.corroboration import Corroboration
from backstay.watch.detect.second_hosts import ADDRESS, FENCED
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import AGENT, HOST, Topology, host_subject, watched_hosts
from backstay.watch.incidents.describe import (
    agents_cause,
    cut_off_cause,
    fenced_host_cause,
    findings_cause,
    host_cause,
    service_cause,
    shared_address_cause,
)
from backstay.watch.incidents.incident import Cause, Kind

HOLD = 15.0
"""Seconds for which trouble is held back, at most, while what may explain it is suspect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationInput:
    """All that causes are made of, at one moment (Unix seconds).

    ``words`` are what was confirmed of hosts that do not answer. ``findings`` are failed ones by
    host, that stood twice. ``silent`` are hosts of which nobody is told. ``kept`` are causes of
    open incidents whose aftermath is under way: they explain on what they explained. ``unheard``
    are hosts whose own word has not come just now.
    """

    now: float
    tracks: Mapping[str, TargetState]
    topology: Topology
    words: Mapping[str, Corroboration] = field(default_factory=dict)
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    kept: tuple[Cause, ...] = ()
    unheard: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCause:
    """A cause, when its first sign was seen, and whether it is sure enough to be told."""

    cause: Cause
    began: float
    ready: bool = True


def causes(scene: CorrelationInput) -> list[CandidateCause]:
    """Return the causes, those that explain most first."""
    down = {track.subject.key: track for track in scene.tracks.values() if track.is_down}
    second = _second_hosts(scene, down)
    silent = {key: track for key, track in down.items() if _is_silent(scene, track)}
    left = {key: track for key, track in down.items() if key not in silent}
    found = second + _hosts(scene, left)
    # An incident that was open before a run goes on until what the run mends is well.
    followed = left | silent
    found += _kept(scene, followed)
    left = {key: track for key, track in left.items() if key in followed}
    found += [*_services(scene, left), *_agents(scene, left)]
    return found + _findings(scene, ready=not found)


def _second_hosts(scene: CorrelationInput, down: dict[str, TargetState]) -> list[CandidateCause]:
    """Find fenced hosts that are on, and addresses that two hosts answer for; take them out.

    No planned run silences them. They explain nothing else: what fails meanwhile is told.
    """
    found = []
    for track in _take(down, lambda one: one.subject.service == FENCED):
        old = scene.topology.cloud.fenced.get(track.subject.host)
        if old is not None:
            key = f"{old.was}/{ADDRESS}/"
            symptoms = _take(down, lambda one, key=key: one.subject.key.startswith(key))  # type: ignore[misc]
            cause = fenced_host_cause(track, old, symptoms)
            found.append(CandidateCause(cause=cause, began=_began([track, *symptoms])))
    for track in _take(down, lambda one: one.subject.service == ADDRESS):
        cause = shared_address_cause(scene.topology, track)
        found.append(CandidateCause(cause=cause, began=_began([track])))
    return found


def _is_silent(scene: CorrelationInput, track: TargetState) -> bool:
    """Say whether nobody is to be told: of a host in a planned run, and of what it carries."""
    if track.subject.host in scene.silent:
        return True
    follows = scene.topology.is_api(track.subject) or track.subject.service == AGENT
    return follows and any(scene.topology.carries_all(host) for host in scene.silent)


def _hosts(scene: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Find hosts that are down, and take what they explain out of ``left``."""
    down = [track for track in left.values() if track.subject.service == HOST]
    for track in down:
        del left[track.subject.key]
    cut = [track for track in down if _is_cut_off(scene, track)]
    others_fall = any(_suspect(scene, host.name) for host in watched_hosts(scene.topology.cloud))
    found = []
    for track in down:
        if track not in cut:
            symptoms = _take(left, lambda one, host=track.subject.host: _on(scene, one, host))  # type: ignore[misc]
            word = scene.words.get(track.subject.host)
            cause = host_cause(scene.topology, track, word, symptoms)
            alone = word is not None and not word.spoke and cause.kind is Kind.HOST_UNREACHABLE
            waits = alone and others_fall and scene.now - track.since <= HOLD
            ready = _any_down([track]) and not waits
            found.append(CandidateCause(cause=cause, began=_began([track, *symptoms]), ready=ready))
    if cut:
        hosts = [track.subject.host for track in cut]
        symptoms = _take(left, lambda one: any(_on(scene, one, host) for host in hosts))
        words = {host: scene.words[host] for host in hosts if host in scene.words}
        everything = _nobody_reached(scene)
        cause = cut_off_cause(hosts, words, symptoms, everything=everything)
        found.append(CandidateCause(cause=cause, began=_began([*cut, *symptoms])))
    return found


def _is_cut_off(scene: CorrelationInput, track: TargetState) -> bool:
    """Say whether a host is there for others, or nobody is left who could say so.

    That all hosts are dead is what their BMCs would have to tell.
    """
    word = scene.words.get(track.subject.host)
    if word is None:
        return False
    unsaid = word.kind is Kind.HOST_UNREACHABLE and not word.spoke
    return word.kind is Kind.MONITORING_HOST_ISOLATED or (unsaid and _nobody_reached(scene))


def _nobody_reached(scene: CorrelationInput) -> bool:
    """Say whether this machine reaches none of the hosts."""
    names = [host.name for host in watched_hosts(scene.topology.cloud)]
    tracks = [scene.tracks.get(host_subject(name).key) for name in names]
    return all(one is not None and (one.is_down or one.state is State.SUSPECT) for one in tracks)


def _suspect(scene: CorrelationInput, host: str) -> bool:
    track = scene.tracks.get(host_subject(host).key)
    return track is not None and track.state is State.SUSPECT


def _on(scene: CorrelationInput, track: TargetState, host: str) -> bool:
    """Say whether a host that is not there explains a subject's being down."""
    if track.subject.host == host:
        return True
    elsewhere = scene.topology.is_api(track.subject) or track.subject.service == AGENT
    return elsewhere and scene.topology.carries_all(host)


def _kept(scene: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Keep explaining what open incidents explained, while all that comes back."""
    found = []
    for cause in scene.kept:
        known = set(cause.symptoms)

        def follows(one: TargetState, cause: Cause = cause, known: set[str] = known) -> bool:
            subject = one.subject
            if subject.key in known or (cause.service == HOST and _on(scene, one, cause.host)):
                return True
            return (cause.host, cause.service) == (subject.host, subject.service)

        suspect = any(t.state is State.SUSPECT and follows(t) for t in scene.tracks.values())
        untold = cause.service == HOST and cause.host in scene.unheard
        symptoms = _take(left, follows)
        if symptoms or suspect or untold:
            began = _began(symptoms) if symptoms else scene.now
            found.append(CandidateCause(cause=cause, began=began))
    return found


def _services(scene: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Find services that are down: what the others stand on first."""
    groups: dict[tuple[str, str], list[TargetState]] = {}
    for track in left.values():
        if track.subject.service != AGENT:
            groups.setdefault((track.subject.host, track.subject.service), []).append(track)
    found: list[CandidateCause] = []
    for (host, service), tracks in sorted(groups.items(), key=lambda g: _order(scene, g[0][1])):
        mine = [track for track in tracks if track.subject.key in left]
        if not mine:
            continue
        for track in mine:
            del left[track.subject.key]
        agents = _agents_of(scene, mine)
        symptoms = _take(
            left,
            lambda one, service=service, agents=agents: (  # type: ignore[misc]
                one.subject.key in agents or _stands_on(scene, one, service)
            ),
        )
        cause = service_cause(scene.topology, host, service, mine, symptoms)
        ready = _ready(scene, mine, service)
        found.append(CandidateCause(cause=cause, began=_began([*mine, *symptoms]), ready=ready))
    return found


def _order(scene: CorrelationInput, service: str) -> tuple[int, str]:
    """Return the place of a service among what may explain others."""
    top = scene.topology
    for place, names in enumerate((top.database, top.broker, top.identity)):
        if service in names:
            return place, service
    return 3, service


def _stands_on(scene: CorrelationInput, track: TargetState, service: str) -> bool:
    """Say whether a subject's being down may come from a service's being down."""
    top = scene.topology
    agent = track.subject.service == AGENT
    if service in top.database:
        return top.is_api(track.subject) or agent
    if service in top.broker:
        return agent or (top.is_api(track.subject) and track.subject.service in top.wired)
    return service in top.identity and top.is_api(track.subject)


def _agents_of(scene: CorrelationInput, mine: Sequence[TargetState]) -> set[str]:
    """Return the agents that units which are down would be, as subjects' keys."""
    units = [(t.subject.host, scene.topology.units.get(t.subject.key)) for t in mine]
    return {f"{host}/{AGENT}/{unit.agent}" for host, unit in units if unit and unit.agent}


def _ready(scene: CorrelationInput, mine: Sequence[TargetState], service: str) -> bool:
    """Say whether nothing that may explain this is still suspect, or that has been so too long.

    An answer that does not come may have its cause anywhere below; a unit that has ended has it on
    its host.
    """
    if not _any_down(mine):
        return False
    if scene.now - min(track.since for track in mine) > HOLD:
        return True
    top, order = scene.topology, _order(scene, service)[0]
    hosts = {track.subject.host for track in mine}
    answers = all(top.is_api(track.subject) for track in mine)

    def explains(track: TargetState) -> bool:
        host, other = track.subject.host, track.subject.service
        if other == HOST:
            return host in hosts or (answers and top.carries_all(host))
        return answers and not top.is_api(track.subject) and _order(scene, other)[0] < order

    if any(explains(t) for t in scene.tracks.values() if t.state is State.SUSPECT):
        return False
    return not any(answers and (host in hosts or top.carries_all(host)) for host in scene.unheard)


def _agents(scene: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Group agents by their hosts; those of many hosts at once are one cause."""
    by_host: dict[str, list[TargetState]] = {}
    for track in left.values():
        if track.subject.service == AGENT:
            by_host.setdefault(track.subject.host, []).append(track)
    if len(by_host) > 3:
        tracks = [track for many in by_host.values() for track in many]
        cause = agents_cause("", tracks)
        return [CandidateCause(cause=cause, began=_began(tracks), ready=_any_down(tracks))]
    return [
        CandidateCause(
            cause=agents_cause(host, tracks), began=_began(tracks), ready=_any_down(tracks)
        )
        for host, tracks in by_host.items()
    ]


def _findings(scene: CorrelationInput, *, ready: bool) -> list[CandidateCause]:
    """Make causes of what the check found: they wait until nothing else is the matter."""
    carriers = any(scene.topology.carries_all(host) for host in scene.silent)
    return [
        CandidateCause(cause=findings_cause(host, told), began=scene.now, ready=ready)
        for host, told in scene.findings.items()
        if told and host not in scene.silent and not carriers
    ]


def _any_down(tracks: Sequence[TargetState]) -> bool:
    """Say whether any is down still: what is coming back by itself is nothing to begin with."""
    return any(track.state is State.DOWN for track in tracks)


def _take(left: dict[str, TargetState], which: Callable[[TargetState], bool]) -> list[TargetState]:
    taken = [track for track in left.values() if which(track)]
    for track in taken:
        del left[track.subject.key]
    return taken


def _began(tracks: Iterable[TargetState]) -> float:
    return min(t.since if t.began is None else t.began for t in tracks)
