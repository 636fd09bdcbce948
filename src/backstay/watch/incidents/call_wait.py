"""When a unit that has ended waits for a call to the agents on its host. Pure.

An agent whose broker refuses its login or its virtual host ends by itself, and only a call, which
tries the host's way to the broker, finds out why: it takes some seconds. An incident for the unit
would name the wrong cause until then.
"""

from collections.abc import Iterator, Mapping, Sequence

from backstay.watch.detect.agent_calls import AgentCalls
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import AGENT, Topology

CALL_WAIT = 8.0
"""Seconds for which a unit that is down waits, at most: a call takes six where none answers."""
TROUBLE_WAIT = 20.0
"""Seconds after the first bad sign of the host's agents in which a unit waits, at most: notified
then, it still is within 30 s."""
ENDED = frozenset({Outcome.FAILED, Outcome.REFUSED})
"""How a unit looks whose process has ended; one that hangs is not explained by a refused login."""


def awaits_call(
    mine: Sequence[TargetState],
    targets: Mapping[str, TargetState],
    topology: Topology,
    calls: AgentCalls,
    now: float,
) -> bool:
    """Return whether what is down of a service on a host is to wait for a call to its agents.

    Only where all of it are ended units of agents, and a call is awaited or an agent beside them is
    suspect. Not when a call is over that began after their trouble did: it has given its answer.
    """
    if not all(_is_agents_unit(one, topology) and one.outcome in ENDED for one in mine):
        return False
    host = mine[0].subject.host
    beside = list(_suspect_agents(host, targets))
    # The units of other services on the host count: one broken way ends them one after another.
    began = min(_began(one) for one in (*mine, *beside, *_suspect_units(host, targets, topology)))
    if now - min(one.since for one in mine) > CALL_WAIT or now - began > TROUBLE_WAIT:
        return False
    if calls.ended.get(host, float("-inf")) >= began:
        return False
    return host in calls.awaited or bool(beside)


def _is_agents_unit(target: TargetState, topology: Topology) -> bool:
    unit = topology.units.get(target.subject.key)
    return unit is not None and bool(unit.agent)


def _suspect_agents(host: str, targets: Mapping[str, TargetState]) -> Iterator[TargetState]:
    """Yield the agents on a host that are suspect, its way to the broker among them."""
    for one in targets.values():
        if one.state is State.SUSPECT and (one.subject.host, one.subject.service) == (host, AGENT):
            yield one


def _suspect_units(
    host: str, targets: Mapping[str, TargetState], topology: Topology
) -> Iterator[TargetState]:
    for one in targets.values():
        ended = one.state is State.SUSPECT and one.outcome in ENDED
        if ended and one.subject.host == host and _is_agents_unit(one, topology):
            yield one


def _began(target: TargetState) -> float:
    return target.since if target.began is None else target.began
