"""When an incident is over, and what of its aftermath still belongs to it."""

from pathlib import Path

import pytest

from backstay.finding import Finding, Severity
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.incidents.incident import Incident, Kind
from backstay.watch.incidents.recovery import AFTERMATH, FORGOTTEN, HOST_AFTERMATH, Recovery
from tests.watch.correlation_inputs import (
    NOW,
    correlation_input,
    corroboration,
    host,
    ready,
    small,
    target,
)

MARIADB = "controller/mariadb/mariadb"


@pytest.fixture
def dead(tmp_path: Path) -> Incident:
    targets = [host("controller", State.DOWN), target(MARIADB, State.DOWN)]
    corroborations = {"controller": corroboration(Kind.HOST_OFF)}
    [one] = ready(correlation_input(small(tmp_path), *targets, corroborations=corroborations))
    return Incident(id=1, cloud="small", cause=one.cause, began=NOW, opened=NOW)


def keyed(*targets: TargetState) -> dict[str, TargetState]:
    return {one.subject.key: one for one in targets}


def test_a_dead_hosts_incident_is_over_when_the_host_is_up(dead: Incident) -> None:
    for state in (State.DOWN, State.RECOVERING, State.SUSPECT, State.UNKNOWN):
        assert not Recovery(keyed(host("controller", state))).over(dead.cause, NOW)
    assert Recovery(keyed(host("controller"))).over(dead.cause, NOW)


def test_its_aftermath_is_its_own_for_a_while(dead: Incident) -> None:
    targets = keyed(host("controller", State.DOWN))
    recovery = Recovery(targets)
    assert recovery.recovering([dead], NOW) == ()
    targets |= keyed(host("controller"))
    assert recovery.recovering([dead], NOW + 10) == (dead.cause,)
    assert recovery.recovering([dead], NOW + 10 + HOST_AFTERMATH - 1) == (dead.cause,)
    assert recovery.recovering([dead], NOW + 10 + HOST_AFTERMATH) == ()
    targets |= keyed(host("controller", State.DOWN))
    assert recovery.recovering([dead], NOW + 500) == ()
    targets |= keyed(host("controller"))
    assert recovery.recovering([dead], NOW + 600) == (dead.cause,)  # down again, back again
    assert AFTERMATH < HOST_AFTERMATH


def test_a_service_is_over_when_all_of_it_is_up(tmp_path: Path) -> None:
    top = small(tmp_path)
    [one] = ready(correlation_input(top, target(MARIADB, State.DOWN)))
    query = "controller/mariadb/query"
    up, down = target(MARIADB, State.UP), target(query, State.DOWN, Outcome.LATE)
    assert not Recovery(keyed(up, down)).over(one.cause, NOW)
    assert Recovery(keyed(up, target(query, State.UP))).over(one.cause, NOW)


def test_what_is_not_in_the_cloud_any_more_is_over_after_a_while(dead: Incident) -> None:
    recovery = Recovery({})
    assert not recovery.over(dead.cause, NOW)
    assert recovery.over(dead.cause, NOW + FORGOTTEN + 1)


def test_a_finding_counts_when_it_stood_twice_and_is_over_when_it_is_gone() -> None:
    full = Finding(
        host="controller",
        service="host",
        subject="disk /",
        severity=Severity.FAILED,
        evidence="99 % used",
        remedy="free some",
    )
    recovery = Recovery({})
    recovery.checked([full], calm=True)
    assert recovery.findings == {}
    recovery.checked([full], calm=False)
    recovery.checked([full], calm=True)
    assert recovery.findings == {}  # what was found meanwhile may come of something else
    recovery.checked([full], calm=True)
    assert recovery.findings == {"controller": ("disk /: 99 % used",)}
    recovery.checked([], calm=True)
    assert recovery.findings == {}
