"""Hooks before a reboot: which may refuse, and which have done something already."""

import asyncio
from typing import Any, cast

import pytest

from backstay.errors import HookFailed
from backstay.inventory.maintenance import Hook
from backstay.journal.action import Refused, Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.reboot.preflight import Hooks


def called(*commands: str, bound: float = 10.0) -> Any:
    step = Step(id="controller.hooks", action="hooks", target="controller", does="", bound=9)
    plan = Plan(runbook="reboot", cloud="lab", targets=("controller",), steps=(step,))
    running = Running(
        run="reboot-1", plan=plan, step=step, results={}, started=0.0, report=lambda _: None
    )
    hooks = [Hook(command=command, bound=bound) for command in commands]
    return asyncio.run(Hooks(cast("Any", None), hooks, may_refuse=True).do(running))


def test_the_first_that_says_no_is_a_refusal() -> None:
    with pytest.raises(Refused, match="no ticket"):
        called("echo no ticket; exit 1")
    assert called("echo done").outputs == ("done",)


def test_one_after_others_is_none_for_these_were_called() -> None:
    with pytest.raises(HookFailed, match="no ticket; called before it: 2 hooks"):
        called("true", "true", "echo no ticket; exit 1")


def test_one_that_has_not_ended_is_none_for_it_may_have_done_its_part() -> None:
    with pytest.raises(HookFailed, match="it may have done its part"):
        called("sleep 60", bound=0.5)
