"""From causes to incidents: opened once, changed where more is known, closed when over."""

from dataclasses import replace
from pathlib import Path

from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.status import State
from backstay.watch.incidents.correlate import CandidateCause
from backstay.watch.incidents.incident import Cause, Incident, Kind
from backstay.watch.incidents.matching import Change, Close, Open, matched
from tests.watch.correlation_inputs import NOW, host, ready, scene, small, track, word


def incident(cause: Cause, number: int = 1) -> Incident:
    return Incident(id=number, cloud="small", cause=cause, began=NOW - 60, opened=NOW - 58)


def never(_cause: Cause) -> bool:
    return False


def of(tmp_path: Path) -> tuple[CandidateCause, CandidateCause]:
    """A hung keystone, and the dead controller that explains it."""
    top = small(tmp_path)
    down = track("controller/keystone/token validation", State.DOWN, Outcome.LATE)
    [hung] = ready(scene(top, down))
    words = {"controller": word(Kind.HOST_OFF)}
    [dead] = ready(scene(top, down, host("controller", State.DOWN), words=words))
    return hung, dead


def test_a_cause_is_opened_once(tmp_path: Path) -> None:
    hung, _ = of(tmp_path)
    assert matched([], [hung], never, NOW) == [Open(found=hung)]
    assert matched([incident(hung.cause)], [hung], never, NOW) == []
    assert matched([], [replace(hung, ready=False)], never, NOW) == []


def test_what_is_found_to_be_a_symptom_becomes_its_cause_and_is_told(tmp_path: Path) -> None:
    hung, dead = of(tmp_path)
    [one] = matched([incident(hung.cause)], [dead], never, NOW)
    assert isinstance(one, Change)
    assert (one.cause, one.tell) == (dead.cause, True)


def test_two_that_turn_out_to_be_one_are_closed_but_for_one(tmp_path: Path) -> None:
    hung, dead = of(tmp_path)
    both = [incident(hung.cause, 1), incident(dead.cause, 2)]
    [one] = matched(both, [dead], never, NOW)
    assert isinstance(one, Close)
    assert one.incident.id == 1
    assert one.text.startswith("explained by another incident")


def test_another_kind_is_told_and_more_symptoms_are_only_noted(tmp_path: Path) -> None:
    _, dead = of(tmp_path)
    silent = replace(dead.cause, kind=Kind.HOST_DEAD)
    [one] = matched([incident(silent)], [dead], never, NOW)
    assert isinstance(one, Change)
    assert one.tell
    more = replace(dead.cause, symptoms=(*dead.cause.symptoms, "proxy/swift/object"))
    [two] = matched([incident(dead.cause)], [replace(dead, cause=more)], never, NOW)
    assert isinstance(two, Change)
    assert not two.tell
    assert two.text == "also down because of it: proxy/swift/object"
    assert matched([incident(more)], [dead], never, NOW) == []  # symptoms come and go


def test_it_is_closed_when_it_is_over_and_not_before(tmp_path: Path) -> None:
    hung, _ = of(tmp_path)
    assert matched([incident(hung.cause)], [], never, NOW) == []
    [one] = matched([incident(hung.cause)], [], lambda _: True, NOW)
    assert one == Close(incident=incident(hung.cause), text="over: it lasted 60 s")


def test_an_incident_of_a_channel_is_somebody_elses(tmp_path: Path) -> None:
    hung, _ = of(tmp_path)
    mine = incident(replace(hung.cause, kind=Kind.CHANNEL_FAILED))
    assert matched([mine], [], lambda _: True, NOW) == []
