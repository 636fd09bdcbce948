"""Repairs: it compares again before each, and proves the end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backstay.cli.output.reconcile import reconcile_document, reconcile_table
from backstay.errors import BackstayError
from backstay.journal.action import Running
from backstay.journal.plan import Plan
from backstay.runbooks.reconcile import actions, observe
from backstay.runbooks.reconcile.plan import plan
from backstay.runbooks.reconcile.steps import Repaired
from tests.health.rpc.recorded import CLOUD
from tests.runbooks.reconciled import Recorded, looked


class Controller(Recorded):
    """Also runs programs: ``exit_status`` and what is seen after it."""

    exit_status, said = 0, ""
    after = "green"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ran: list[list[str]] = []

    async def ask(self, host: str, function: Any, *arguments: Any, **options: Any) -> Any:
        if function is not actions.run:
            return await super().ask(host, function, *arguments, **options)
        self.ran.append(arguments[0])
        if self.exit_status == 0:
            self.name = self.after
        return [self.exit_status, self.said]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(actions, "PAUSE", 0.0)


def planned(name: str) -> Plan:
    made = plan(CLOUD, looked(name).mismatches)
    assert made is not None
    return made


def running(
    made: Plan, at: int, say: Callable[[str], None] = lambda _: None, bound: float | None = None
) -> Running:
    step = made.steps[at]
    if bound is not None:
        step = type(step)(
            **{
                name: getattr(step, name)
                for name in ("id", "action", "target", "does", "arguments")
            },
            bound=bound,
        )
    return Running(run="r", plan=made, step=step, results={}, started=0.0, report=say)


def done(site: Any, name: str, given: Running) -> Any:
    return asyncio.run(actions.actions(site)[name].do(given))


def test_an_allocation_is_repaired_and_proved() -> None:
    site, made = Controller("no-allocation"), planned("no-allocation")
    said: list[str] = []
    result = done(site, "repair", running(made, 0, said.append))
    assert result.summary == "1 repaired"
    assert [command[:3] for command in site.ran] == [
        ["nova-manage", "placement", "heal_allocations"]
    ]
    assert said == [" ".join(site.ran[0])]
    assert done(site, "prove", running(made, -1)).proved == 1


def test_a_plan_of_the_version_that_healed_is_carried_out() -> None:
    site = Controller("no-allocation")
    result = done(site, "heal", running(planned("no-allocation"), 0))
    assert len(result.repaired) == 1
    old = {"healed": ["instance a"], "left": [], "told": "1 healed"}
    assert Repaired.from_json(old) == Repaired(
        repaired=("instance a",), left=(), summary="1 healed"
    )


def test_what_does_not_differ_any_more_is_left_alone() -> None:
    site = Controller("green")
    result = done(site, "repair", running(planned("no-allocation"), 0))
    assert (result.repaired, len(result.left)) == ((), 1)
    assert site.ran == []


def test_what_is_not_safe_any_more_is_left_alone() -> None:
    site = Controller("no-allocation")
    site.silent = ("compute1",)
    assert done(site, "repair", running(planned("no-allocation"), 0)).repaired == ()
    assert site.ran == []


def test_a_program_s_failure_is_told_with_its_words() -> None:
    site = Controller("no-allocation")
    site.exit_status, site.said = 3, "Allocation create failed"
    with pytest.raises(BackstayError) as raised:
        done(site, "repair", running(planned("no-allocation"), 0))
    assert "exit status 3: Allocation create failed" in raised.value.came_back
    assert "controller" in raised.value.attempted


def test_nothing_to_do_any_more_is_well() -> None:
    site = Controller("no-allocation")
    site.exit_status = 4
    assert done(site, "repair", running(planned("no-allocation"), 0)).summary == "1 repaired"


def test_what_still_differs_at_the_end_is_told() -> None:
    site = Controller("no-allocation")
    with pytest.raises(BackstayError) as raised:
        done(site, "prove", running(planned("no-allocation"), -1, bound=observe.RECORDS_BOUND))
    assert "still differs: instance story-reconcile" in raised.value.came_back
    assert "heal_allocations" in raised.value.remedy


def test_apis_that_cannot_be_asked_are_an_error() -> None:
    with pytest.raises(BackstayError, match="asking the APIs"):
        done(Controller("stopped"), "repair", running(planned("stopped"), 0))


def test_a_table_for_tired_eyes() -> None:
    found = looked("no-allocation", silent=["storage1"])
    text = reconcile_table(found, width=90)
    lines = text.splitlines()
    assert "1 mismatch, 1 of them safe to repair; 1 question without an answer" in text
    assert any("UNKNOWN" in line and "storage1" in line for line in lines)
    commands = [line for line in lines if "nova-manage" in line]
    assert len(commands) == 1, "a command stays on one line"
    assert "safe, by --apply" in commands[0]
    assert "nothing differs" in reconcile_table(looked("green"), width=90)


def test_of_very_many_of_one_kind_some_are_shown_and_all_are_counted() -> None:
    found = looked("no-allocation")
    many = [replace(found.mismatches[0], subject=f"instance i{n} {n}") for n in range(5000)]
    text = reconcile_table(replace(found, mismatches=tuple(many)), width=90)
    assert "5000 mismatches, 5000 of them safe" in text
    assert "and 4980 more lacking of placement" in text
    assert text.count("nova-manage") == 20


def test_a_document_for_programs() -> None:
    document = json.loads(reconcile_document(looked("images")))
    assert [one["safe"] for one in document["mismatches"]] == [False, False]
    assert document["kinds"] == {"gone": 1, "no record": 1}
    assert document["guards"][0]["severity"] == "ok"


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is compared, one after another; the last one again and again."""
    found: list[Any] = []

    async def mismatches(_site: Any) -> Any:
        return found.pop(0) if len(found) > 1 else found[0]

    monkeypatch.setattr(actions, "mismatches", mismatches)
    return found


def proof_of(made: Plan, settle: float) -> Any:
    site: Any = Controller("green")
    return asyncio.run(actions.Prove(site, settle=settle).do(running(made, -1)))


def test_what_a_repair_has_started_is_waited_for(compared: list[Any]) -> None:
    compared += map(looked, ("no-allocation", "images", "green"))
    assert proof_of(planned("no-allocation"), settle=3600.0).others == ()


def test_what_does_not_settle_is_listed(compared: list[Any]) -> None:
    compared += [looked("images")]
    others = [one.subject for one in looked("images").mismatches]
    assert list(proof_of(planned("no-allocation"), settle=0.0).others) == others


def test_what_nothing_repairs_is_not_waited_for(compared: list[Any]) -> None:
    compared += [looked("images")]
    left = [replace(one, repair=None) for one in looked("images").mismatches]
    made = plan(CLOUD, [*looked("no-allocation").mismatches, *left])
    assert made is not None
    assert len(proof_of(made, settle=3600.0).others) == len(left)
