"""Signs of all kinds, each by its rule; and what is shown of them."""

from pathlib import Path

import pytest

from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from backstay.watch.detect.status import State
from backstay.watch.detect.tracker import FORGET, STARTING, StateTracker
from tests.watch.correlation_inputs import small

API = Subject(host="controller", service="keystone", name="token validation")
UNIT = Subject(host="controller", service="keystone", name="keystone")


@pytest.fixture
def tracker(tmp_path: Path) -> StateTracker:
    return StateTracker(small(tmp_path), 10.0, lambda host: "it is busy" if host == "proxy" else "")


def take(
    tracker: StateTracker,
    subject: Subject,
    outcome: Outcome,
    *times: float,
    sure: bool = True,
    seconds: float | None = None,
    age: float | None = None,
) -> State:
    for at in times:
        bad = outcome not in {Outcome.OK, Outcome.UNKNOWN}
        result = ProbeResult(
            subject=subject,
            outcome=outcome,
            evidence=str(outcome),
            at=at,
            sure=sure and bad,
            seconds=seconds,
            age=age,
        )
        tracker.take(result)
    return tracker.targets[subject.key].state


def test_a_unit_is_down_sooner_than_an_api_that_refuses(tracker: StateTracker) -> None:
    assert take(tracker, UNIT, Outcome.FAILED, 1, 2) is State.DOWN
    assert take(tracker, API, Outcome.REFUSED, 1, 2) is State.SUSPECT
    assert take(tracker, API, Outcome.REFUSED, 3) is State.DOWN


def test_while_systemd_starts_a_unit_its_apis_refusal_is_excused(tracker: StateTracker) -> None:
    take(tracker, UNIT, Outcome.FAILED, 1, sure=False)
    assert take(tracker, API, Outcome.REFUSED, 1, 2, 3, 4, 5) is State.SUSPECT
    take(tracker, UNIT, Outcome.OK, 6)
    assert take(tracker, API, Outcome.OK, 7) is State.UP


def test_a_service_that_was_only_just_started_may_take_its_time(tracker: StateTracker) -> None:
    take(tracker, UNIT, Outcome.OK, 100, age=1)
    assert take(tracker, API, Outcome.LATE, 101, 102, 103, 104, sure=False) is State.SUSPECT
    assert take(tracker, API, Outcome.OK, 105) is State.UP
    take(tracker, UNIT, Outcome.OK, 130, age=31)
    assert take(tracker, API, Outcome.LATE, 131, 132, 133, sure=False) is State.DOWN


def test_one_that_never_answers_after_its_start_is_down_in_the_end(tracker: StateTracker) -> None:
    started = 100
    take(tracker, UNIT, Outcome.OK, started + 1, age=1)
    late = started + int(STARTING) + 2
    assert take(tracker, API, Outcome.REFUSED, *range(started + 2, late)) is State.SUSPECT
    assert take(tracker, API, Outcome.REFUSED, late) is State.DOWN


def test_a_change_of_state_wakes_whoever_decides(tracker: StateTracker) -> None:
    take(tracker, UNIT, Outcome.OK, 1)
    assert tracker.changed.is_set()
    tracker.changed.clear()
    take(tracker, UNIT, Outcome.OK, 2)
    assert not tracker.changed.is_set()
    take(tracker, UNIT, Outcome.FAILED, 3)
    assert tracker.changed.is_set()


def test_late_answers_of_a_busy_host_are_excused(tracker: StateTracker) -> None:
    proxy = Subject(host="proxy", service="swift", name="object")
    assert take(tracker, proxy, Outcome.LATE, *range(1, 20), sure=False) is State.SUSPECT
    assert take(tracker, API, Outcome.LATE, 1, 2, 3, sure=False) is State.DOWN


def test_what_is_shown_changes_only_where_something_has(tracker: StateTracker) -> None:
    take(tracker, UNIT, Outcome.OK, 1)
    take(tracker, API, Outcome.OK, 1, seconds=0.02)
    first = tracker.statuses()
    assert first[API.key].recent == ((1, 0.02),)
    assert first[UNIT.key].recent == ()
    take(tracker, UNIT, Outcome.OK, 2)
    take(tracker, API, Outcome.LATE, 2)
    second = tracker.statuses()
    assert second[UNIT.key] is first[UNIT.key]
    assert second[API.key].recent == ((1, 0.02), (2, None))
    assert second[API.key].state is State.SUSPECT


def test_minutes_are_given_once_when_they_are_over(tracker: StateTracker) -> None:
    take(tracker, API, Outcome.OK, 60, 61, seconds=0.02)
    take(tracker, API, Outcome.OK, 62, seconds=0.06)
    take(tracker, API, Outcome.LATE, 63)
    assert tracker.history.finished(119) == []
    [one] = tracker.history.finished(121)
    assert (one.subject, one.minute, one.asked, one.answered) == (API.key, 1, 4, 3)
    assert (one.median, one.longest) == (0.02, 0.06)
    assert tracker.history.finished(181) == []


def test_what_nobody_tells_of_any_more_is_unknown(tracker: StateTracker) -> None:
    take(tracker, UNIT, Outcome.OK, 1)
    tracker.forget(1 + FORGET + 1)
    assert tracker.targets[UNIT.key].state is State.UNKNOWN
