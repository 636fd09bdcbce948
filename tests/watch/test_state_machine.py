"""From signs to states: what makes suspect, what makes down, what makes up again."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from backstay.watch.detect.state_machine import Rule, TargetState, forgotten, step
from backstay.watch.detect.status import State

SUBJECT = Subject(host="controller", service="keystone", name="token validation")
RULE = Rule(sure=2, soft=3, patience=30.0, recovered=10.0)
HOST_RULE = Rule(sure=1, soft=None)


def result(at: float, outcome: Outcome = Outcome.OK, *, sure: bool = False) -> ProbeResult:
    return ProbeResult(
        subject=SUBJECT, outcome=outcome, evidence=f"{outcome} at {at}", at=at, sure=sure
    )


def after(results: Sequence[ProbeResult], *, rule: Rule = RULE, excuse: str = "") -> TargetState:
    target = TargetState(subject=SUBJECT)
    for one in results:
        target = step(target, one, rule, excuse if one.bad else "")
    return target


UP = result(0.0)


def test_one_bad_sign_makes_suspect_and_a_good_one_clears_it() -> None:
    suspect = after([UP, result(1, Outcome.FAILED, sure=True)])
    assert suspect.state is State.SUSPECT
    assert suspect.began == 1
    well = step(suspect, result(2), RULE)
    assert well.state is State.UP
    assert (well.bad, well.sure, well.began) == (0, 0, None)


def test_two_sure_signs_make_down_whatever_the_excuse() -> None:
    bad = [UP, result(1, Outcome.FAILED, sure=True), result(2, Outcome.FAILED, sure=True)]
    assert after(bad, excuse="the host is busy").state is State.DOWN


def test_late_answers_make_down_when_nothing_excuses_them() -> None:
    late = [UP, *(result(at, Outcome.LATE) for at in (1, 2, 3))]
    assert after(late[:3]).state is State.SUSPECT
    down = after(late)
    assert down.state is State.DOWN
    assert down.evidence == "late at 3 (3 times in a row, for 2.0 s)"


def test_no_row_of_signs_that_is_too_short_is_enough() -> None:
    rule = Rule(sure=2, soft=3, lasting=2.0)
    bad = [UP, *(result(at, Outcome.FAILED, sure=True) for at in (1, 1.5, 2.5, 2.9))]
    assert after(bad, rule=rule).state is State.SUSPECT
    assert after([*bad, result(3, Outcome.LATE)], rule=rule).state is State.DOWN


def test_late_answers_with_an_excuse_must_last() -> None:
    late = [UP, *(result(at, Outcome.LATE) for at in range(1, 31))]
    assert after(late, excuse="packets are lost").state is State.SUSPECT
    assert after([*late, result(31, Outcome.LATE)], excuse="packets are lost").state is State.DOWN


def test_a_good_answer_between_late_ones_begins_their_count_anew() -> None:
    late = [result(at, Outcome.LATE) for at in (1, 2, 4, 5)]
    assert after([UP, *late[:2], result(3), *late[2:]]).state is State.SUSPECT


def test_a_host_is_down_by_what_was_confirmed_only() -> None:
    silent = [UP, *(result(at, Outcome.SILENT) for at in range(1, 200))]
    assert after(silent, rule=HOST_RULE).state is State.SUSPECT
    assert (
        after([*silent, result(200, Outcome.SILENT, sure=True)], rule=HOST_RULE).state is State.DOWN
    )


def test_down_is_up_again_only_after_good_signs_for_long_enough() -> None:
    down = after([UP, *(result(at, Outcome.FAILED, sure=True) for at in (1, 2))])
    back = step(down, result(5), RULE)
    assert back.state is State.RECOVERING
    assert back.is_down
    again = step(back, result(6, Outcome.LATE), RULE)
    assert again.state is State.DOWN
    target = again
    for at in range(7, 17):
        target = step(target, result(at), RULE)
        assert target.state is State.RECOVERING
    assert step(target, result(17), RULE).state is State.UP


def test_what_could_not_be_asked_changes_nothing() -> None:
    suspect = after([UP, result(1, Outcome.LATE)])
    assert step(suspect, result(2, Outcome.UNKNOWN), RULE) == suspect


def test_what_is_not_heard_of_is_unknown_but_what_was_down_stays_down() -> None:
    assert forgotten(after([UP]), 31, 30).state is State.UNKNOWN
    assert forgotten(after([UP]), 30, 30).state is State.UP
    down = after([UP, *(result(at, Outcome.FAILED, sure=True) for at in (1, 2))])
    assert forgotten(down, 100, 30) == down


LOOKS = st.lists(
    st.tuples(st.sampled_from(list(Outcome)), st.booleans(), st.booleans()), max_size=60
)


@given(LOOKS)
def test_down_always_has_its_evidence(looks: list[tuple[Outcome, bool, bool]]) -> None:
    target, row = TargetState(subject=SUBJECT), list[tuple[ProbeResult, bool]]()
    for at, (outcome, sure, excused) in enumerate(looks):
        one = result(at, outcome, sure=sure and outcome not in {Outcome.OK, Outcome.UNKNOWN})
        before, target = target, step(target, one, RULE, "busy" if excused else "")
        if one.good:
            row = []
            assert target.state in {State.UP, State.RECOVERING}
        elif one.bad:
            row.append((one, excused))
        entered = target.state is State.DOWN and before.state in {State.UP, State.SUSPECT}
        if entered:
            enough = sum(s.sure for s, _ in row) >= RULE.sure
            lasting = at - row[0][0].at >= RULE.patience
            plain = len(row) >= 3 and not any(e for _, e in row)
            assert enough or plain or (len(row) >= 3 and lasting)
        if before.state is State.UNKNOWN:
            assert target.state is not State.DOWN
        if before.is_down and target.state is State.UP:
            assert target.well is not None
            assert at - target.well >= RULE.recovered
