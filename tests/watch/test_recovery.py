"""When an incident is over, and what of its aftermath still belongs to it."""

from pathlib import Path

import pytest

from backstay.finding import Finding, Severity
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.incidents.incident import Incident, Kind
from backstay.watch.incidents.recovery import AFTERMATH, FORGOTTEN, HOST_AFTERMATH, Recovery
from tests.watch.correlation_inputs import NOW, host, ready, scene, small, track, word

MARIADB = "controller/mariadb/mariadb"


@pytest.fixture
def dead(tmp_path: Path) -> Incident:
    tracks = [host("controller", State.DOWN), track(MARIADB, State.DOWN)]
    words = {"controller": word(Kind.HOST_OFF)}
    [one] = ready(scene(small(tmp_path), *tracks, words=words))
    return Incident(id=1, cloud="small", cause=one.cause, began=NOW, opened=NOW)


def keyed(*tracks: TargetState) -> dict[str, TargetState]:
    return {one.subject.key: one for one in tracks}


def test_a_dead_hosts_incident_is_over_when_the_host_is_up(dead: Incident) -> None:
    for state in (State.DOWN, State.RECOVERING, State.SUSPECT, State.UNKNOWN):
        assert not Recovery(keyed(host("controller", state))).over(dead.cause, NOW)
    assert Recovery(keyed(host("controller"))).over(dead.cause, NOW)


def test_its_aftermath_is_its_own_for_a_while(dead: Incident) -> None:
    tracks = keyed(host("controller", State.DOWN))
    recovery = Recovery(tracks)
    assert recovery.kept([dead], NOW) == ()
    tracks |= keyed(host("controller"))
    assert recovery.kept([dead], NOW + 10) == (dead.cause,)
    assert recovery.kept([dead], NOW + 10 + HOST_AFTERMATH - 1) == (dead.cause,)
    assert recovery.kept([dead], NOW + 10 + HOST_AFTERMATH) == ()
    tracks |= keyed(host("controller", State.DOWN))
    assert recovery.kept([dead], NOW + 500) == ()
    tracks |= keyed(host("controller"))
    assert recovery.kept([dead], NOW + 600) == (dead.cause,)  # down again, back again
    assert AFTERMATH < HOST_AFTERMATH


def test_a_service_is_over_when_all_of_it_is_up(tmp_path: Path) -> None:
    top = small(tmp_path)
    [one] = ready(scene(top, track(MARIADB, State.DOWN)))
    query = "controller/mariadb/query"
    up, down = track(MARIADB, State.UP), track(query, State.DOWN, Outcome.LATE)
    assert not Recovery(keyed(up, down)).over(one.cause, NOW)
    assert Recovery(keyed(up, track(query, State.UP))).over(one.cause, NOW)


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
