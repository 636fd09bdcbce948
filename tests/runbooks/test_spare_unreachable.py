"""What is told where the spare cannot be reached: which machine it is, and that it may be lost."""

import pytest

from backstay.errors import HostUnreachable
from backstay.journal.action import Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.replace.actions import hinted


def remedy(host: str, *done: str) -> str:
    steps = tuple(
        Step(id=f"proxy.{name}", action=name, target="proxy", does="", bound=9)
        for name in ("adopt", "send")
    )
    plan = Plan(
        runbook="replace",
        cloud="lab",
        targets=("proxy", "spare1"),
        steps=steps,
        settings={"spare": "spare1"},
    )
    running = Running(
        run="replace-7",
        plan=plan,
        step=steps[1],
        results={f"proxy.{name}": {} for name in done},
        started=0.0,
        report=lambda _text: None,
    )
    with pytest.raises(HostUnreachable) as caught, hinted(running):
        raise HostUnreachable(
            f"connecting to {host} (10.0.0.1) by SSH", came_back="no route", remedy="look"
        )
    return caught.value.remedy


def test_the_spare_is_named_by_the_place_it_has_and_another_one_offered():
    assert "that is spare1, which has the place of proxy by now" in remedy("proxy", "adopt")
    assert "by now" not in remedy("spare1")
    assert "backstay runs abandon replace-7, and start again" in remedy("spare1")
    assert remedy("compute1", "adopt") == "look"
