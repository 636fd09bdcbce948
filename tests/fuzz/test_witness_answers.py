"""Mutated answers of witnesses: each is a statement of that witness, and nothing is raised."""

import asyncio
import json
from typing import Any, cast

import pytest

from backstay.health.witness.judge import HostVerdict, Verdict, judge
from backstay.health.witness.observe import ask_address
from backstay.watch.detect.corroboration import Corroborator
from tests.fuzz.mutate import Mutator
from tests.health.witness.recorded import DATA, Recorded

TIMES = 60


def is_clean(judged: HostVerdict) -> bool:
    texts = [judged.reason, judged.remedy, *(one.summary for one in judged.statements)]
    return all(text.isprintable() and len(text) < 5000 for text in texts)


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.json")))
def test_whatever_everybody_answers_there_is_a_verdict(name: str) -> None:
    mutator = Mutator(2)
    for _ in range(TIMES):
        seen = Recorded(name)
        hosts = seen.told["hosts"]
        for host in mutator.random.sample(sorted(hosts), 2):
            hosts[host] = mutator.answer(hosts[host])
        if mutator.random.random() < 0.3:
            seen.told["login"] = mutator.answer(seen.told["login"])
        if mutator.random.random() < 0.3:
            seen.told["here"] = mutator.value(seen.told["here"])
        assert is_clean(judge(seen.look()))


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


def test_the_watch_and_the_fence_ask_on() -> None:
    mutator = Mutator(4)
    for _ in range(TIMES):
        seen = Recorded("power-off")
        hosts = seen.told["hosts"]
        hosts["compute1"] = mutator.answer(hosts["compute1"])

        async def quick_probe(_address: str, seen: Recorded = seen) -> Any:
            await asyncio.sleep(0)
            return mutator.value(seen.told["here"])

        session = cast("Any", seen)
        asks = Corroborator(session, quick_probe=quick_probe, power=seen.power)
        found = asyncio.run(asks.quick(seen.suspect, []))
        assert json.dumps([found.reason, *found.statements])
        assert asyncio.run(ask_address(session, seen.suspect, here=seen.here))
