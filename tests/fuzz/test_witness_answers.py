"""Mutated answers of witnesses: each is a statement of that witness, and nothing is raised."""

from backstay.health.witness.judge import HostVerdict, Verdict, judge
from tests.fuzz.mutate import Mutator
from tests.health.witness.recorded import Recorded

TIMES = 60


def is_clean(judged: HostVerdict) -> bool:
    texts = [judged.reason, judged.remedy, *(one.summary for one in judged.statements)]
    return all(text.isprintable() and len(text) < 5000 for text in texts)


def test_a_death_is_confirmed_whatever_one_witness_answers_that_is_no_sign_of_life() -> None:
    mutator, unread = Mutator(3), 0
    for _ in range(4 * TIMES):
        seen = Recorded("silent-power-on")
        seen.told["hosts"]["compute1"] = mutator.answer(seen.told["hosts"]["compute1"])
        observed = seen.look()
        [one] = [witness for witness in observed.others if witness.name == "compute1"]
        unread += bool(one.trouble)
        judged = judge(observed)
        assert is_clean(judged)
        assert one.signs or judged.verdict is Verdict.DEAD
    assert unread > TIMES
