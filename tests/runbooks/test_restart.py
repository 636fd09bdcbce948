"""Restarting what has failed of a service: which units, and when that is believed."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from backstay.errors import BackstayError, HostUnreachable
from backstay.finding import Finding, Severity
from backstay.journal.action import Running
from backstay.runbooks import restart
from backstay.runbooks.restart import failed_units, plan
from tests.watch.act_harness import CLOUD


def finding(subject: str, severity: Severity, evidence: str = "", service: str = "nova") -> Finding:
    return Finding(
        host="controller", service=service, subject=subject, severity=severity, evidence=evidence
    )


GOOD = finding("unit nova-api", Severity.OK, "running for 6 s, port 8774")
BAD = finding("unit nova-api", Severity.FAILED, "not running, stopped 3 s ago")
DEAF = finding("unit nova-api", Severity.WARNING, "runs, but nothing listens on port 8774")


def test_only_what_a_restart_can_bring_back() -> None:
    findings = [
        BAD,
        finding("unit nova-scheduler", Severity.FAILED, "not running and masked"),
        finding(
            "unit nova-conductor", Severity.FAILED, "not installed: systemd knows no such unit"
        ),
        finding("unit nova-novncproxy", Severity.WARNING, "restarted 3 times"),
        finding("unit glance-api", Severity.FAILED, "failed", service="glance"),
        finding("image list", Severity.FAILED, "500"),
    ]
    assert failed_units(findings, "controller", "nova") == ["nova-api"]
    assert failed_units(findings, "compute1", "nova") == []


def test_the_plan_names_each_unit() -> None:
    made = plan(CLOUD, "controller", "nova", ["nova-api", "nova-scheduler"])
    assert [step.id for step in made.steps] == [
        "look-nova-api",
        "restart-nova-api",
        "prove-nova-api",
        "look-nova-scheduler",
        "restart-nova-scheduler",
        "prove-nova-scheduler",
    ]
    assert made.targets == ("controller",)


class FakeSession:
    """A host that tells one thing after another of its units, and notes what it is asked to do."""

    def __init__(self, tells: Sequence[Finding | BackstayError], refuses: str = "") -> None:
        self.tells = list(tells)
        self.refuses = refuses
        self.asked: list[str] = []

    async def check_units(self, _host: str) -> list[Finding]:
        told = self.tells.pop(0) if len(self.tells) > 1 else self.tells[0]
        if isinstance(told, BackstayError):
            raise told
        return [told]

    async def ask(self, _host: str, _function: Any, unit: str, *, returns: type[str]) -> str:
        assert returns is str
        self.asked.append(unit)
        return self.refuses


def carry_out(
    site: FakeSession, monkeypatch: pytest.MonkeyPatch, bound: float = 12.0
) -> dict[str, Any]:
    monkeypatch.setattr(restart, "check_units", lambda session, host: session.check_units(host))
    monkeypatch.setattr(restart, "HOLDS", 0.05)
    monkeypatch.setattr(restart, "PAUSE", 0.01)
    monkeypatch.setattr(restart, "_MARGIN", bound - 0.5)
    made = plan(CLOUD, "controller", "nova", ["nova-api"])
    results: dict[str, Any] = {}

    async def work() -> None:
        does = restart.actions(site)  # type: ignore[arg-type]
        for step in (replace(one, bound=bound) for one in made.steps):
            running = Running(
                run="restart-1",
                plan=made,
                step=step,
                results=results,
                started=0.0,
                report=lambda _: None,
            )
            results[step.id] = (await does[step.action].do(running)).to_json()

    asyncio.run(work())
    return results


def test_what_runs_by_now_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    site = FakeSession([GOOD])
    results = carry_out(site, monkeypatch)
    assert site.asked == []
    assert results["restart-nova-api"]["restarted"] is False


def test_it_must_run_and_listen_and_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = HostUnreachable("asking", came_back="no answer", remedy="")
    site = FakeSession([BAD, BAD, DEAF, GOOD, silent, GOOD, GOOD])
    results = carry_out(site, monkeypatch)
    assert site.asked == ["nova-api"]
    assert "active after" in results["prove-nova-api"]["summary"]


def test_what_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BackstayError, match="waiting until nova-api on controller is active: not running"
    ):
        carry_out(FakeSession([BAD]), monkeypatch)


def test_what_systemd_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackstayError, match="Unit is masked"):
        carry_out(FakeSession([BAD], refuses="Unit is masked"), monkeypatch)
