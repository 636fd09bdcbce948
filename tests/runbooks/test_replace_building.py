"""When the site's configuration management begins, and when it may change the host."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.answers import convert
from backstay.backup.place import Place
from backstay.errors import ApiUnreachable
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Running
from backstay.runbooks.replace.provisioning import BeginBuild, LetBuild
from backstay.transports.ssh import HostShell
from tests.runbooks.test_replace_plan import CLOUD, made

STATE: dict[str, Any] = {"started": True, "runs": True, "status": None, "log": "/l", "enabled": []}
PUPPET = {"puppet": {"manifest": "/etc/p/c.pp"}}
COMMAND = {"command": {"argv": ["/usr/local/sbin/build"], "on": "host"}}


class Noting(CloudSession):
    """A site whose host tells that all is well, and which notes what it is asked."""

    def __init__(self, cloud: Cloud) -> None:
        nobody = ApiUnreachable("asking", came_back="nobody", remedy="none")
        super().__init__(cloud=cloud, shell=HostShell(), api=nobody)
        self.asked: list[str] = []

    async def ask(
        self,
        host: str,
        function: Callable[..., Any],
        *arguments: Any,
        returns: Any = None,
        bound: float = 30.0,
        most: int = 0,
    ) -> Any:
        self.asked.append(function.__name__)
        answer = [] if function.__name__ == "missing" else STATE
        return answer if returns is None else convert(returns, answer)


def asked(step: str, means: Any, results: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Take one of the two steps, and return what the host was asked and the step's result."""
    document = CLOUD.model_dump(exclude_unset=True) | {"provision": {"controller": means}}
    site = Noting(Cloud.model_validate(document))
    actions: dict[str, type[BeginBuild | LetBuild]] = {
        "begin-build": BeginBuild,
        "let-build": LetBuild,
    }
    action: Action[Any] = actions[step](site, Place(site.cloud))
    plan = replace(made(), settings={**made().settings, "spare": "spare1"})
    [this] = [one for one in plan.steps if one.action == step]
    running = Running(
        run="replace-1",
        plan=plan,
        step=this,
        started=1.0,
        report=lambda _: None,
        results={"controller.adopt": {}, **results},
    )
    return site.asked, asyncio.run(action.do(running)).to_json()


@pytest.mark.parametrize(("means", "early"), [(PUPPET, True), (COMMAND, False)])
def test_only_what_can_be_held_begins_before_the_broker_runs(
    means: Any, early: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    first, started_at = asked("begin-build", means, {})
    assert ("begin" in first) is early
    assert "let_go" not in first
    assert "allow" not in first, "no unit is started before"
    second, _ = asked("let-build", means, {"controller.begin-build": started_at})
    # Started again it is the same unit: one that runs is left alone.
    assert second == ["allow", "begin", "let_go"]


def test_without_means_nothing_is_begun() -> None:
    document = CLOUD.model_dump(exclude_unset=True)
    site = Noting(Cloud.model_validate(document))
    plan = made()
    [this] = [one for one in plan.steps if one.action == "let-build"]
    running = Running(
        run="replace-1",
        plan=plan,
        step=this,
        started=1.0,
        report=lambda _: None,
        results={"controller.adopt": {}, "controller.begin-build": {"unit": ""}},
    )
    asyncio.run(LetBuild(site, Place(site.cloud)).do(running))
    assert site.asked == ["allow"]
