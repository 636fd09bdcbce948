"""The ended unit of an agent waits for the call that knows whether its broker lets it in."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.watch.detect.agent_calls import AgentCalls, CallLog
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import AGENT, Topology
from backstay.watch.incidents.call_wait import CALL_WAIT, TROUBLE_WAIT
from backstay.watch.incidents.correlate import causes
from backstay.watch.incidents.incident import Kind
from tests.watch.correlation_inputs import NOW, correlation_input, host, ready, small, target

LINK = "the broker on controller refuses the login of compute1: user openstack"
UNDER_WAY = AgentCalls(awaited=frozenset({"compute1"}))
AGENTS_UNITS = (
    "compute1/nova/nova-compute",
    "compute1/neutron/neutron-linuxbridge-agent",
    "controller/nova/nova-conductor",
    "compute1/neutron/neutron-dhcp-agent",
    "controller/cinder/cinder-scheduler",
    "controller/cinder/cinder-volume",
)


@pytest.fixture
def top(tmp_path: Path) -> Topology:
    return small(tmp_path)


def ended(key: str = AGENTS_UNITS[0], began: float = NOW - 2, **more: object) -> TargetState:
    """A unit whose process has ended."""
    return replace(target(key, State.DOWN), began=began, **more)  # type: ignore[arg-type]


def suspect(name: str = "nova-compute", where: str = "compute1", ago: float = 5) -> TargetState:
    """An agent of which the broker reports problems."""
    one = target(f"{where}/{AGENT}/{name}", State.SUSPECT, Outcome.LATE, sure=False)
    return replace(one, since=NOW - ago, began=NOW - ago)


def called(host: str, ago: float) -> AgentCalls:
    """A call to a host that is over, and began so many seconds ago."""
    return AgentCalls(ended={host: NOW - ago})


@pytest.mark.parametrize("key", AGENTS_UNITS)
def test_it_waits_for_the_call_that_is_under_way(top: Topology, key: str) -> None:
    unit = ended(key)
    assert key in top.units, "the inventory has this unit"
    calls = AgentCalls(awaited=frozenset({unit.subject.host}))
    [found] = causes(correlation_input(top, unit, calls=calls))
    assert not found.ready
    elsewhere = AgentCalls(awaited=frozenset({"compute2"}))
    assert len(ready(correlation_input(top, unit, calls=elsewhere))) == 1


def test_the_cause_that_the_call_finds_is_the_first_to_be_notified(top: Topology) -> None:
    no_way = replace(
        target(f"compute1/{AGENT}/nova-compute", State.DOWN, Outcome.NO_WAY), trouble=LINK
    )
    units = [ended(key) for key in AGENTS_UNITS[:2]]
    assert ready(correlation_input(top, suspect(), *units, calls=UNDER_WAY)) == []
    [found] = ready(correlation_input(top, no_way, *units, calls=called("compute1", 4)))
    assert found.cause.kind is Kind.BROKER_UNREACHABLE
    assert {one.subject.key for one in units} <= set(found.cause.symptoms)


def test_it_waits_where_an_agent_beside_it_is_suspect(top: Topology) -> None:
    way = replace(suspect("way to the broker"), outcome=Outcome.NO_WAY)
    for beside in (suspect("nova-compute"), way):
        assert ready(correlation_input(top, ended(), beside)) == []
        assert ready(correlation_input(top, ended(AGENTS_UNITS[1]), beside)) == []
    other = suspect(where="compute2")
    assert [one.cause.service for one in ready(correlation_input(top, ended(), other))] == ["nova"]


def test_nothing_to_wait_for_is_no_wait(top: Topology) -> None:
    [found] = ready(correlation_input(top, ended()))
    assert found.cause.kind is Kind.SERVICE_FAILED


def test_a_call_that_is_over_and_found_nothing_lets_it_be_notified(top: Topology) -> None:
    """Whether it found the way fine, or could not be made: its host did not answer."""
    given = (suspect(ago=5), ended(began=NOW - 2))
    [found] = ready(correlation_input(top, *given, calls=called("compute1", 4)))
    assert found.cause.kind is Kind.SERVICE_FAILED
    again = replace(called("compute1", 4), awaited=frozenset({"compute1"}))
    assert len(ready(correlation_input(top, *given, calls=again))) == 1
    assert ready(correlation_input(top, *given, calls=called("compute2", 4))) == []


def test_a_call_from_before_the_trouble_says_nothing_of_it(top: Topology) -> None:
    old = replace(called("compute1", 60), awaited=frozenset({"compute1"}))
    assert ready(correlation_input(top, ended(), calls=old)) == []


def test_the_trouble_of_a_host_begins_with_the_first_of_its_units(top: Topology) -> None:
    first = replace(
        target(AGENTS_UNITS[1], State.SUSPECT, Outcome.REFUSED), since=NOW - 6, began=NOW - 6
    )
    found = ready(correlation_input(top, first, ended(), calls=called("compute1", 4)))
    assert [one.cause.service for one in found] == ["nova"]
    late = replace(first, since=NOW - TROUBLE_WAIT - 1, began=NOW - TROUBLE_WAIT - 1)
    assert len(ready(correlation_input(top, late, ended(), calls=UNDER_WAY))) == 1


def test_the_wait_ends(top: Topology) -> None:
    long_down = ended(since=NOW - CALL_WAIT - 0.1, began=NOW - CALL_WAIT - 1)
    assert len(ready(correlation_input(top, long_down, calls=UNDER_WAY))) == 1
    just = ended(since=NOW - CALL_WAIT + 0.1, began=NOW - CALL_WAIT - 1)
    assert ready(correlation_input(top, just, calls=UNDER_WAY)) == []
    long_suspect = suspect(ago=TROUBLE_WAIT + 0.1)
    assert len(ready(correlation_input(top, ended(), long_suspect, calls=UNDER_WAY))) == 1
    assert ready(correlation_input(top, ended(), suspect(ago=TROUBLE_WAIT - 1))) == []


def test_several_units_of_a_service_wait_from_the_first_that_is_down(top: Topology) -> None:
    keys = ("controller/nova/nova-conductor", "controller/nova/nova-scheduler")
    calls = AgentCalls(awaited=frozenset({"controller"}))
    assert ready(correlation_input(top, *map(ended, keys), calls=calls)) == []
    first = ended(keys[0], since=NOW - CALL_WAIT - 0.1)
    [found] = ready(correlation_input(top, first, ended(keys[1]), calls=calls))
    assert found.cause.title.endswith("nova-conductor, nova-scheduler")


@pytest.mark.parametrize(
    "other",
    [
        target("controller/nova/nova-api", State.DOWN),
        target("controller/nova/key pairs", State.DOWN),
        target("controller/nova/nova-scheduler", State.DOWN, Outcome.LATE),
    ],
    ids=["a-unit-of-no-agent", "an-api", "a-unit-that-hangs"],
)
def test_what_no_login_explains_does_not_wait(top: Topology, other: TargetState) -> None:
    calls = AgentCalls(awaited=frozenset({"controller"}))
    assert len(ready(correlation_input(top, other, calls=calls))) == 1
    both = (other, ended("controller/nova/nova-conductor"))
    assert len(ready(correlation_input(top, *both, calls=calls))) == 1


def test_a_host_that_is_down_explains_it_without_a_wait(top: Topology) -> None:
    [found] = ready(correlation_input(top, host("compute1", State.DOWN), ended(), calls=UNDER_WAY))
    assert found.cause.host == "compute1"
    assert ended().subject.key in found.cause.symptoms


def test_calls_overlap_and_are_over_however_they_end() -> None:
    log = CallLog()
    with log.call({"compute1", "controller"}, 10.0):
        with suppress(TimeoutError), log.call({"compute1"}, 12.0):
            assert log.shown({"storage1"}).awaited == {"compute1", "controller", "storage1"}
            raise TimeoutError
        assert log.shown(()) == AgentCalls(
            awaited=frozenset({"compute1", "controller"}), ended={"compute1": 12.0}
        )
    assert log.shown(()) == AgentCalls(ended={"compute1": 12.0, "controller": 10.0})
