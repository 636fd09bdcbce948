"""Commands whose only gate is that there are no two hosts in one place take --skip-gate healthy."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from backstay.cli import execution
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.cli.options import skip_healthy_option
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan

HOSTS = {"c": {"address": "192.0.2.1", "roles": ["controller"]}}


class Store:
    """A journal that keeps the plan."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def create(self, plan: Plan, **_: Any) -> str:
        self.plans.append(plan)
        return "r-1"

    def run(self, _name: str) -> None:
        return None


@pytest.mark.parametrize(
    ("words", "settings"),
    [([], {"a": 1}), (["--skip-gate", "healthy"], {"a": 1, "skip_gates": ["healthy"]})],
)
def test_it_is_written_into_the_plan(
    words: list[str], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    monkeypatch.setattr(execution, "open_store", lambda: store)
    monkeypatch.setattr(execution, "carry_out", lambda *_, **__: ExitStatus.OK)
    cloud = Cloud.model_validate({"credentials": {"environment": True}, "hosts": HOSTS})

    @click.command
    @skip_healthy_option
    def command() -> None:
        plan = Plan(runbook="x", cloud="c", targets=(), steps=(), settings={"a": 1})
        execution.start(cloud, plan, reason="")

    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert store.plans[0].settings == settings


@pytest.mark.parametrize("name", ["replace", "reattach", "reconcile", "backup restore"])
def test_these_take_it(name: str) -> None:
    shown = CliRunner().invoke(backstay, [*name.split(), "--help"]).output
    assert "--skip-gate [healthy]" in shown
