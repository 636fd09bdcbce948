"""From causes to incidents: opened once, changed where more is known, closed when over."""

from dataclasses import replace
from pathlib import Path

from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.status import State
from backstay.watch.incidents.correlate import CandidateCause
from backstay.watch.incidents.incident import Cause, Incident, Kind
from backstay.watch.incidents.matching import (
    OpenIncident,
    ResolveIncident,
    UpdateIncident,
    match_incidents,
)
from tests.watch.correlation_inputs import (
    NOW,
    correlation_input,
    corroboration,
    host,
    ready,
    small,
    target,
)


def incident(cause: Cause, number: int = 1) -> Incident:
    return Incident(id=number, cloud="small", cause=cause, began=NOW - 60, opened=NOW - 58)


def never(_cause: Cause) -> bool:
    return False


def of(tmp_path: Path) -> tuple[CandidateCause, CandidateCause]:
    """A hung keystone, and the dead controller that explains it."""
    top = small(tmp_path)
    down = target("controller/keystone/token validation", State.DOWN, Outcome.LATE)
    [hung] = ready(correlation_input(top, down))
    corroborations = {"controller": corroboration(Kind.HOST_OFF)}
    [dead] = ready(
        correlation_input(top, down, host("controller", State.DOWN), corroborations=corroborations)
    )
    return hung, dead


def test_a_cause_is_opened_once(tmp_path: Path) -> None:
    hung, _ = of(tmp_path)
    assert match_incidents([], [hung], never, NOW) == [OpenIncident(found=hung)]
    assert match_incidents([incident(hung.cause)], [hung], never, NOW) == []
    assert match_incidents([], [replace(hung, ready=False)], never, NOW) == []


def test_what_is_found_to_be_a_symptom_becomes_its_cause_and_is_told(tmp_path: Path) -> None:
    hung, dead = of(tmp_path)
    [one] = match_incidents([incident(hung.cause)], [dead], never, NOW)
    assert isinstance(one, UpdateIncident)
    assert (one.cause, one.notify) == (dead.cause, True)


def test_two_that_turn_out_to_be_one_are_closed_but_for_one(tmp_path: Path) -> None:
    hung, dead = of(tmp_path)
    both = [incident(hung.cause, 1), incident(dead.cause, 2)]
    [one] = match_incidents(both, [dead], never, NOW)
    assert isinstance(one, ResolveIncident)
    assert one.incident.id == 1
    assert one.text.startswith("explained by another incident")


def test_another_kind_is_told_and_more_symptoms_are_only_noted(tmp_path: Path) -> None:
    _, dead = of(tmp_path)
    silent = replace(dead.cause, kind=Kind.HOST_DEAD)
    [one] = match_incidents([incident(silent)], [dead], never, NOW)
    assert isinstance(one, UpdateIncident)
    assert one.notify
    more = replace(dead.cause, symptoms=(*dead.cause.symptoms, "proxy/swift/object"))
    [two] = match_incidents([incident(dead.cause)], [replace(dead, cause=more)], never, NOW)
    assert isinstance(two, UpdateIncident)
    assert not two.notify
    assert two.text == "also down because of it: proxy/swift/object"
    assert match_incidents([incident(more)], [dead], never, NOW) == []  # symptoms come and go


def test_it_is_closed_when_it_is_over_and_not_before(tmp_path: Path) -> None:
    hung, _ = of(tmp_path)
    assert match_incidents([incident(hung.cause)], [], never, NOW) == []
    [one] = match_incidents([incident(hung.cause)], [], lambda _: True, NOW)
    assert one == ResolveIncident(incident=incident(hung.cause), text="resolved after 60 s")


def test_an_incident_of_a_channel_is_somebody_elses(tmp_path: Path) -> None:
    hung, _ = of(tmp_path)
    mine = incident(replace(hung.cause, kind=Kind.CHANNEL_FAILED))
    assert match_incidents([mine], [], lambda _: True, NOW) == []
