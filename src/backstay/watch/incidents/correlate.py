"""Correlation: from target states to causes, one for everything that it explains. Pure.

A dead host explains everything on it. The host of the database, the broker or keystone explains
what fails elsewhere as well; so does the database alone, and the broker the agents. What nothing
explains is a cause of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backstay.watch.detect.agent_calls import AgentCalls
from backstay.watch.detect.corroboration import Corroboration
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.second_hosts import ADDRESS, FENCED
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import AGENT, HOST, Topology, host_subject, watched_hosts
from backstay.watch.incidents.call_wait import awaits_call
from backstay.watch.incidents.describe import (
    agents_cause,
    fenced_host_cause,
    findings_cause,
    host_cause,
    isolated_cause,
    service_cause,
    shared_address_cause,
)
from backstay.watch.incidents.incident import Cause, Kind

HOLD = 15.0
"""Seconds for which trouble is held back, at most, while what may explain it is suspect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationInput:
    """Everything from which causes are derived, at one moment.

    Attributes:
        now: the time, in Unix seconds.
        targets: the state of everything that is watched, by its key.
        topology: which host runs and serves what.
        corroborations: what other hosts and BMCs report of hosts that do not answer, by host.
        findings: failed findings of the whole check that were there twice in a row, by host.
        silenced: hosts that a planned run takes down: no notifications about them.
        recovering: causes of open incidents that are recovering; they still explain what they
            explained before.
        silent_streams: hosts whose status stream is silent just now.
        calls: how the calls to agents stand.

    """

    now: float
    targets: Mapping[str, TargetState]
    topology: Topology
    corroborations: Mapping[str, Corroboration] = field(default_factory=dict)
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    silenced: frozenset[str] = frozenset()
    recovering: tuple[Cause, ...] = ()
    silent_streams: frozenset[str] = frozenset()
    calls: AgentCalls = field(default_factory=AgentCalls)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCause:
    """A cause, when its first failure was observed, and whether it is certain enough to open."""

    cause: Cause
    began: float
    ready: bool = True


def causes(inputs: CorrelationInput) -> list[CandidateCause]:
    """Return the causes, those that explain most first."""
    down = {target.subject.key: target for target in inputs.targets.values() if target.is_down}
    second = _second_hosts(inputs, down)
    silenced = {key: target for key, target in down.items() if _is_silenced(inputs, target)}
    left = {key: target for key, target in down.items() if key not in silenced}
    found = second + _hosts(inputs, left)
    # An incident that was open before a run goes on until what the run repairs works again.
    followed = left | silenced
    found += _recovering(inputs, followed)
    left = {key: target for key, target in left.items() if key in followed}
    cut = _without_a_way(inputs, left)
    found += [*_services(inputs, left), *_agents(inputs, left, cut)]
    return found + _findings(inputs, ready=not found)


def _second_hosts(inputs: CorrelationInput, down: dict[str, TargetState]) -> list[CandidateCause]:
    """Find fenced hosts that are on, and addresses that two hosts answer for; take them out.

    No planned run silences them. They explain nothing else: what fails meanwhile is notified.
    """
    found = []
    for target in _take(down, lambda one: one.subject.service == FENCED):
        old = inputs.topology.cloud.fenced.get(target.subject.host)
        if old is not None:
            key = f"{old.was}/{ADDRESS}/"
            symptoms = _take(down, lambda one, key=key: one.subject.key.startswith(key))  # type: ignore[misc]
            cause = fenced_host_cause(target, old, symptoms)
            found.append(CandidateCause(cause=cause, began=_began([target, *symptoms])))
    for target in _take(down, lambda one: one.subject.service == ADDRESS):
        cause = shared_address_cause(inputs.topology, target)
        found.append(CandidateCause(cause=cause, began=_began([target])))
    return found


def _is_silenced(inputs: CorrelationInput, target: TargetState) -> bool:
    """Return whether a target is silenced: a host in a planned run, and what it carries."""
    if target.subject.host in inputs.silenced:
        return True
    follows = inputs.topology.is_api(target.subject) or target.subject.service == AGENT
    return follows and any(inputs.topology.carries_all(host) for host in inputs.silenced)


def _hosts(inputs: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Find hosts that are down, and take what they explain out of ``left``."""
    down = [target for target in left.values() if target.subject.service == HOST]
    for target in down:
        del left[target.subject.key]
    isolated = [target for target in down if _is_isolated(inputs, target)]
    others_fall = any(_suspect(inputs, host.name) for host in watched_hosts(inputs.topology.cloud))
    found = []
    for target in down:
        if target not in isolated:
            symptoms = _take(left, lambda one, host=target.subject.host: _on(inputs, one, host))  # type: ignore[misc]
            corroboration = inputs.corroborations.get(target.subject.host)
            cause = host_cause(inputs.topology, target, corroboration, symptoms)
            alone = (
                corroboration is not None
                and not corroboration.answered_witnesses
                and cause.kind is Kind.HOST_UNREACHABLE
            )
            waits = alone and others_fall and inputs.now - target.since <= HOLD
            ready = _any_down([target]) and not waits
            found.append(
                CandidateCause(cause=cause, began=_began([target, *symptoms]), ready=ready)
            )
    if isolated:
        hosts = [target.subject.host for target in isolated]
        symptoms = _take(left, lambda one: any(_on(inputs, one, host) for host in hosts))
        corroborations = {
            host: inputs.corroborations[host] for host in hosts if host in inputs.corroborations
        }
        everything = _reaches_none(inputs)
        cause = isolated_cause(hosts, corroborations, symptoms, everything=everything)
        found.append(CandidateCause(cause=cause, began=_began([*isolated, *symptoms])))
    return found


def _is_isolated(inputs: CorrelationInput, target: TargetState) -> bool:
    """Return whether others reach a host, or none is left that could be asked.

    Only their BMCs could report that all hosts are dead.
    """
    corroboration = inputs.corroborations.get(target.subject.host)
    if corroboration is None:
        return False
    unconfirmed = (
        corroboration.kind is Kind.HOST_UNREACHABLE and not corroboration.answered_witnesses
    )
    return corroboration.kind is Kind.MONITORING_HOST_ISOLATED or (
        unconfirmed and _reaches_none(inputs)
    )


def _reaches_none(inputs: CorrelationInput) -> bool:
    """Return whether this machine reaches none of the hosts."""
    names = [host.name for host in watched_hosts(inputs.topology.cloud)]
    targets = [inputs.targets.get(host_subject(name).key) for name in names]
    return all(one is not None and (one.is_down or one.state is State.SUSPECT) for one in targets)


def _suspect(inputs: CorrelationInput, host: str) -> bool:
    target = inputs.targets.get(host_subject(host).key)
    return target is not None and target.state is State.SUSPECT


def _on(inputs: CorrelationInput, target: TargetState, host: str) -> bool:
    """Return whether a host that is not there explains a subject's being down."""
    if target.subject.host == host:
        return True
    elsewhere = inputs.topology.is_api(target.subject) or target.subject.service == AGENT
    return elsewhere and inputs.topology.carries_all(host)


def _recovering(inputs: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Keep explaining what open incidents explained, while all that comes back."""
    found = []
    for cause in inputs.recovering:
        known = set(cause.symptoms)

        def follows(one: TargetState, cause: Cause = cause, known: set[str] = known) -> bool:
            subject = one.subject
            if subject.key in known or (cause.service == HOST and _on(inputs, one, cause.host)):
                return True
            return (cause.host, cause.service) == (subject.host, subject.service)

        suspect = any(t.state is State.SUSPECT and follows(t) for t in inputs.targets.values())
        no_status = cause.service == HOST and cause.host in inputs.silent_streams
        symptoms = _take(left, follows)
        if symptoms or suspect or no_status:
            began = _began(symptoms) if symptoms else inputs.now
            found.append(CandidateCause(cause=cause, began=began))
    return found


def _services(inputs: CorrelationInput, left: dict[str, TargetState]) -> list[CandidateCause]:
    """Find services that are down: what the others stand on first."""
    groups: dict[tuple[str, str], list[TargetState]] = {}
    for target in left.values():
        if target.subject.service != AGENT:
            groups.setdefault((target.subject.host, target.subject.service), []).append(target)
    found: list[CandidateCause] = []
    for (host, service), targets in sorted(groups.items(), key=lambda g: _order(inputs, g[0][1])):
        mine = [target for target in targets if target.subject.key in left]
        if not mine:
            continue
        for target in mine:
            del left[target.subject.key]
        agents = _agents_of(inputs, mine)
        symptoms = _take(
            left,
            lambda one, service=service, agents=agents: (  # type: ignore[misc]
                one.subject.key in agents or _stands_on(inputs, one, service)
            ),
        )
        cause = service_cause(inputs.topology, host, service, mine, symptoms)
        ready = _ready(inputs, mine, service) and not awaits_call(
            mine, inputs.targets, inputs.topology, inputs.calls, inputs.now
        )
        found.append(CandidateCause(cause=cause, began=_began([*mine, *symptoms]), ready=ready))
    return found


def _order(inputs: CorrelationInput, service: str) -> tuple[int, str]:
    """Return the place of a service among what may explain others."""
    top = inputs.topology
    for place, names in enumerate((top.database, top.broker, top.identity)):
        if service in names:
            return place, service
    return 3, service


def _stands_on(inputs: CorrelationInput, target: TargetState, service: str) -> bool:
    """Return whether a subject's being down may come from a service's being down."""
    top = inputs.topology
    agent = target.subject.service == AGENT
    if service in top.database:
        return top.is_api(target.subject) or agent
    if service in top.broker:
        return agent or (top.is_api(target.subject) and target.subject.service in top.wired)
    return service in top.identity and top.is_api(target.subject)


def _agents_of(inputs: CorrelationInput, mine: Sequence[TargetState]) -> set[str]:
    """Return the agents that units which are down would be, as subjects' keys."""
    units = [(t.subject.host, inputs.topology.units.get(t.subject.key)) for t in mine]
    return {f"{host}/{AGENT}/{unit.agent}" for host, unit in units if unit and unit.agent}


def _ready(inputs: CorrelationInput, mine: Sequence[TargetState], service: str) -> bool:
    """Return whether nothing that may explain this is still suspect, or that has been so too long.

    An answer that does not come may have its cause anywhere below; a unit that has ended has it on
    its host.
    """
    if not _any_down(mine):
        return False
    if inputs.now - min(target.since for target in mine) > HOLD:
        return True
    top, order = inputs.topology, _order(inputs, service)[0]
    hosts = {target.subject.host for target in mine}
    answers = all(top.is_api(target.subject) for target in mine)

    def explains(target: TargetState) -> bool:
        host, other = target.subject.host, target.subject.service
        if other == HOST:
            return host in hosts or (answers and top.carries_all(host))
        return answers and not top.is_api(target.subject) and _order(inputs, other)[0] < order

    if any(explains(t) for t in inputs.targets.values() if t.state is State.SUSPECT):
        return False
    return not any(
        answers and (host in hosts or top.carries_all(host)) for host in inputs.silent_streams
    )


def _without_a_way(
    inputs: CorrelationInput, left: dict[str, TargetState]
) -> dict[str, list[TargetState]]:
    """Take out agents' units on hosts without a way to the broker: that is why they end, or hang.

    Not where the broker itself is down.
    """
    top = inputs.topology
    if any(target.subject.service in top.broker for target in left.values()):
        return {}
    hosts = {one.subject.host for one in left.values() if one.outcome is Outcome.NO_WAY}

    def follows(one: TargetState, host: str) -> bool:
        unit = top.units.get(one.subject.key)
        return one.subject.host == host and unit is not None and bool(unit.agent)

    return {host: _take(left, lambda one, host=host: follows(one, host)) for host in hosts}  # type: ignore[misc]


def _agents(
    inputs: CorrelationInput,
    left: dict[str, TargetState],
    cut: Mapping[str, Sequence[TargetState]],
) -> list[CandidateCause]:
    """Group agents by their hosts; those of many hosts at once are one cause.

    ``cut`` are the units of hosts without a way to the broker.
    """
    by_host: dict[str, list[TargetState]] = {}
    for target in left.values():
        if target.subject.service == AGENT:
            by_host.setdefault(target.subject.host, []).append(target)
    for host, units in cut.items():
        by_host[host] += units
    if len(by_host) > 3:
        by_host = {"": [target for many in by_host.values() for target in many]}
    return [
        CandidateCause(
            cause=agents_cause(host, targets),
            began=_began(targets),
            ready=_any_down(targets) and not _broker_is_suspect(inputs, targets),
        )
        for host, targets in by_host.items()
    ]


def _broker_is_suspect(inputs: CorrelationInput, targets: Sequence[TargetState]) -> bool:
    """Return whether hosts have no way to the broker, and it may be the broker that is gone."""
    cut = [target for target in targets if target.outcome is Outcome.NO_WAY]
    if not cut or inputs.now - min(target.since for target in cut) > HOLD:
        return False
    top = inputs.topology
    return any(
        target.state is State.SUSPECT
        and (
            target.subject.service in top.broker
            or (target.subject.service == HOST and top.runs(target.subject.host, top.broker))
        )
        for target in inputs.targets.values()
    )


def _findings(inputs: CorrelationInput, *, ready: bool) -> list[CandidateCause]:
    """Make causes of the check's findings: they wait until there is no other cause."""
    carriers = any(inputs.topology.carries_all(host) for host in inputs.silenced)
    return [
        CandidateCause(cause=findings_cause(host, failed), began=inputs.now, ready=ready)
        for host, failed in inputs.findings.items()
        if failed and host not in inputs.silenced and not carriers
    ]


def _any_down(targets: Sequence[TargetState]) -> bool:
    """Return whether any is still down: a recovering target opens no incident."""
    return any(target.state is State.DOWN for target in targets)


def _take(left: dict[str, TargetState], which: Callable[[TargetState], bool]) -> list[TargetState]:
    taken = [target for target in left.values() if which(target)]
    for target in taken:
        del left[target.subject.key]
    return taken


def _began(targets: Iterable[TargetState]) -> float:
    return min(t.since if t.began is None else t.began for t in targets)
