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
def tracking(tmp_path: Path) -> StateTracker:
    return StateTracker(small(tmp_path), 10.0, lambda host: "it is busy" if host == "proxy" else "")


def take(
    tracking: StateTracker,
    subject: Subject,
    look: Outcome,
    *times: float,
    sure: bool = True,
    seconds: float | None = None,
    age: float | None = None,
) -> State:
    for at in times:
        bad = look not in {Outcome.OK, Outcome.UNKNOWN}
        sign = ProbeResult(
            subject=subject,
            look=look,
            evidence=str(look),
            at=at,
            sure=sure and bad,
            seconds=seconds,
            age=age,
        )
        tracking.take(sign)
    return tracking.tracks[subject.key].state


def test_a_unit_is_down_sooner_than_an_api_that_refuses(tracking: StateTracker) -> None:
    assert take(tracking, UNIT, Outcome.FAILED, 1, 2) is State.DOWN
    assert take(tracking, API, Outcome.REFUSED, 1, 2) is State.SUSPECT
    assert take(tracking, API, Outcome.REFUSED, 3) is State.DOWN


def test_while_systemd_starts_a_unit_its_apis_refusal_is_excused(tracking: StateTracker) -> None:
    take(tracking, UNIT, Outcome.FAILED, 1, sure=False)
    assert take(tracking, API, Outcome.REFUSED, 1, 2, 3, 4, 5) is State.SUSPECT
    take(tracking, UNIT, Outcome.OK, 6)
    assert take(tracking, API, Outcome.OK, 7) is State.UP


def test_a_service_that_was_only_just_started_may_take_its_time(tracking: StateTracker) -> None:
    take(tracking, UNIT, Outcome.OK, 100, age=1)
    assert take(tracking, API, Outcome.LATE, 101, 102, 103, 104, sure=False) is State.SUSPECT
    assert take(tracking, API, Outcome.OK, 105) is State.UP
    take(tracking, UNIT, Outcome.OK, 130, age=31)
    assert take(tracking, API, Outcome.LATE, 131, 132, 133, sure=False) is State.DOWN


def test_one_that_never_answers_after_its_start_is_down_in_the_end(tracking: StateTracker) -> None:
    started = 100
    take(tracking, UNIT, Outcome.OK, started + 1, age=1)
    late = started + int(STARTING) + 2
    assert take(tracking, API, Outcome.REFUSED, *range(started + 2, late)) is State.SUSPECT
    assert take(tracking, API, Outcome.REFUSED, late) is State.DOWN


def test_a_change_of_state_wakes_whoever_decides(tracking: StateTracker) -> None:
    take(tracking, UNIT, Outcome.OK, 1)
    assert tracking.changed.is_set()
    tracking.changed.clear()
    take(tracking, UNIT, Outcome.OK, 2)
    assert not tracking.changed.is_set()
    take(tracking, UNIT, Outcome.FAILED, 3)
    assert tracking.changed.is_set()


def test_late_answers_of_a_busy_host_are_excused(tracking: StateTracker) -> None:
    proxy = Subject(host="proxy", service="swift", name="object")
    assert take(tracking, proxy, Outcome.LATE, *range(1, 20), sure=False) is State.SUSPECT
    assert take(tracking, API, Outcome.LATE, 1, 2, 3, sure=False) is State.DOWN


def test_what_is_shown_changes_only_where_something_has(tracking: StateTracker) -> None:
    take(tracking, UNIT, Outcome.OK, 1)
    take(tracking, API, Outcome.OK, 1, seconds=0.02)
    first = tracking.targets()
    assert first[API.key].recent == ((1, 0.02),)
    assert first[UNIT.key].recent == ()
    take(tracking, UNIT, Outcome.OK, 2)
    take(tracking, API, Outcome.LATE, 2)
    second = tracking.targets()
    assert second[UNIT.key] is first[UNIT.key]
    assert second[API.key].recent == ((1, 0.02), (2, None))
    assert second[API.key].state is State.SUSPECT


def test_minutes_are_given_once_when_they_are_over(tracking: StateTracker) -> None:
    take(tracking, API, Outcome.OK, 60, 61, seconds=0.02)
    take(tracking, API, Outcome.OK, 62, seconds=0.06)
    take(tracking, API, Outcome.LATE, 63)
    assert tracking.history.finished(119) == []
    [one] = tracking.history.finished(121)
    assert (one.subject, one.minute, one.asked, one.answered) == (API.key, 1, 4, 3)
    assert (one.median, one.longest) == (0.02, 0.06)
    assert tracking.history.finished(181) == []


def test_what_nobody_tells_of_any_more_is_unknown(tracking: StateTracker) -> None:
    take(tracking, UNIT, Outcome.OK, 1)
    tracking.forget(1 + FORGET + 1)
    assert tracking.tracks[UNIT.key].state is State.UNKNOWN
