"""Witnesses whose answers cannot be read: they could not be asked, and the others decide."""

import asyncio
import json
from typing import Any, cast

import pytest

from backstay.health.witness.judge import Verdict, judge
from backstay.health.witness.observe import ask_address
from backstay.watch.detect.corroboration import Corroborator
from backstay.watch.incidents.incident import Kind
from tests.health.witness.recorded import Recorded

GOOD = {"way": {"own": False}, "ports": [], "arp": {"asked": True, "message": "", "macs": []}}
BAD: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "a mapping without anything": {},
    "a text": "alive",
    "a number": 7,
    "deep": json.loads("[" * 400 + "]" * 400),
    "no way": {"ports": []},
    "way is a text": GOOD | {"way": "own"},
    "own is a number": GOOD | {"way": {"own": 1}},
    "ports are a number": GOOD | {"ports": 3},
    "a port without a state": GOOD | {"ports": [[22]]},
    "a state that there is not": GOOD | {"ports": [[22, "humming", ""]]},
    "a negative port": GOOD | {"ports": [[-1, "silent", ""]]},
    "so many ports": GOOD | {"ports": [[at, "refused", ""] for at in range(2000)]},
    "arp without an answer": GOOD | {"arp": {"asked": True}},
    "a text for hardware addresses": GOOD | {"arp": {"asked": True, "macs": "aa:bb"}},
    "no hardware address": GOOD | {"arp": {"asked": True, "macs": ["\x1b[2J"]}},
    "so many hardware addresses": GOOD
    | {"arp": {"asked": True, "macs": ["aa:bb:cc:dd:ee:ff"] * 500}},
    "pings are a text": GOOD | {"pings": "yes"},
    "seconds are a text": GOOD | {"seconds": "x"},
    "seconds before they began": GOOD | {"seconds": -1.0},
    "connections are a list": GOOD | {"connections": [1]},
    "heard is a text": GOOD | {"connections": {"count": 1, "heard": "now"}},
    "a count that no machine has": GOOD | {"connections": {"count": 10**30}},
    "trouble is a list": GOOD | {"trouble": ["x"]},
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_one_that_cannot_be_read_could_not_be_asked_and_the_others_confirm_it(answer: Any) -> None:
    dead = Recorded("power-off")
    dead.told["hosts"]["compute1"] = answer
    seen = dead.look()
    judged = judge(seen)
    assert judged.verdict is Verdict.DEAD
    [one] = [each for each in judged.statements if each.witness == "compute1"]
    assert one.summary.startswith("could not be asked: ")
    assert one.sign is None
    assert len(one.summary) < 400
    assert one.summary.isprintable()


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_the_watch_and_the_fence_go_on_without_it(answer: Any) -> None:
    dead = Recorded("power-off")
    dead.told["hosts"]["compute1"] = answer
    session = cast("Any", dead)

    async def quick_probe(_address: str) -> Any:
        await asyncio.sleep(0)
        return dead.told["here"]

    asks = Corroborator(session, quick_probe=quick_probe, power=dead.power)
    assert asyncio.run(asks.quick(dead.suspect, [])).kind is Kind.HOST_OFF
    found = asyncio.run(ask_address(session, dead.suspect, here=dead.here))
    assert [one.name for one in found if one.trouble] == ["compute1"]


def test_this_machine_and_the_suspect_may_answer_anything_too() -> None:
    for name in ("here", "login"):
        for what, answer in BAD.items():
            dead = Recorded("power-off")
            dead.told[name] = answer
            judged = judge(dead.look())
            assert judged.verdict is (Verdict.DEAD if name == "here" else Verdict.UNKNOWN), what
