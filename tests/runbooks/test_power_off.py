"""Cutting the power of a fenced host: read back, never another's; and the gate of every runbook."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.cli import runs
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity
from backstay.health import addresses
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Refused, Running
from backstay.journal.engine import lock_names
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord, RunState
from backstay.maintenance import gates
from backstay.runbooks import power_off, registry

BMC = {"url": "https://192.0.2.111", "username": "admin", "password": "s3cret"}
CLOUD = Cloud.model_validate(
    {
        "name": "lab",
        "credentials": {"environment": True},
        "hosts": {"controller": {"address": "192.0.2.11", "roles": ["controller"]}},
        "fenced": {
            "old": {"was": "controller", "since": "2026-11-24T22:00:00Z", "bmc": BMC},
            "bare": {"was": "controller", "since": "2026-11-24T22:00:00Z"},
        },
    }
)
SESSION = CloudSession(cloud=CLOUD, shell=None, api=None)  # type: ignore[arg-type]


class Board:
    """A BMC that reports one state after another, the last for good."""

    def __init__(self, *states: bool | None) -> None:
        self.states = list(states)
        self.done: list[str] = []

    async def state(self, *, bound: float = 30.0) -> bool | None:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    async def off(self) -> None:
        self.done.append("off")


def carry_out(board: Board, monkeypatch: pytest.MonkeyPatch, shared: Any = ()) -> dict[str, Any]:
    async def read_addresses(_session: Any, hosts: Any) -> addresses.AddressReading:
        assert hosts == ["controller"]
        return addresses.AddressReading(shared=tuple(shared))

    monkeypatch.setattr(power_off, "HOLDS", 0.02)
    monkeypatch.setattr(power_off, "PAUSE", 0.01)
    monkeypatch.setattr("backstay.transports.power.ASK_BOUND", 0.05)
    monkeypatch.setattr("backstay.transports.power.OFF_PAUSE", 0.01)
    monkeypatch.setattr(addresses, "read_addresses", read_addresses)
    made = power_off.plan(CLOUD, "old")
    actions = power_off.runbook(SESSION, power=lambda _: board).actions  # type: ignore[arg-type, return-value]
    return {
        step.id: asyncio.run(actions[step.action].do(running(made, step))) for step in made.steps
    }


def running(made: Plan, step: Step) -> Running:
    return Running(run="r-1", plan=made, step=step, results={}, started=0.0, report=lambda _: None)


def test_it_is_cut_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(True, False)
    done = carry_out(board, monkeypatch)
    assert board.done == ["off"]
    assert done["old.power-off"].was_on


def test_one_that_reports_off_gets_the_order_too(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(False)
    assert not carry_out(board, monkeypatch)["old.power-off"].was_on
    assert board.done == ["off"], "what a BMC reports may be old"


def test_a_board_that_does_not_obey_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for state, word in ((True, "reports on"), (None, "reports neither on nor off")):
        with pytest.raises(BackstayError, match=f"its BMC {word} afterwards") as caught:
            carry_out(Board(state), monkeypatch)
        assert "by hand" in caught.value.remedy


def test_a_board_that_lies_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = addresses.SharedAddress(host="controller", address="192.0.2.11", macs=("a", "b"))
    with pytest.raises(BackstayError, match="reports off, and yet two hosts answer for"):
        carry_out(Board(True, False), monkeypatch, [shared])
    with pytest.raises(BackstayError, match="does not report off any more"):
        carry_out(Board(True, False, True), monkeypatch)


@pytest.mark.parametrize(
    ("name", "said"),
    [("controller", "not under `fenced`"), ("bare", "it has no BMC"), ("x", "not under `fenced`")],
)
def test_no_other_host_is_ever_powered_off(name: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        power_off.plan(CLOUD, name)
    step = replace(power_off.plan(CLOUD, "old").steps[0], target=name)
    board = Board(True)
    actions = power_off.runbook(SESSION, power=lambda _: board).actions  # type: ignore[arg-type, return-value]
    with pytest.raises(Refused, match=said):
        asyncio.run(actions[step.action].do(running(power_off.plan(CLOUD, "old"), step)))
    assert board.done == []


def entered(runbook: str, monkeypatch: pytest.MonkeyPatch, at: int = 0, **settings: Any) -> int:
    """Enter a step of a runbook while a fenced host is on; return how often that was asked."""
    asked = []

    async def second_hosts(_session: Any, *, but_not: Any) -> list[Finding]:
        liars = settings.get("without_witnesses", [])
        assert but_not == ["controller", *liars], "a replacement's host is dead: not waited for"
        asked.append(1)
        on = Finding(
            host="old",
            service="host",
            subject="fenced host",
            severity=Severity.FAILED,
            evidence="its power is on: it may answer as controller",
            remedy="switch it off at once",
        )
        return [on]

    monkeypatch.setattr(registry, "second_hosts", second_hosts)
    steps = tuple(Step(id=f"s{n}", action="x", target="", does="", bound=1) for n in range(2))
    made = Plan(
        runbook=runbook, cloud="lab", targets=("controller",), steps=steps, settings=settings
    )
    run = RunRecord(
        id=f"{runbook}-1",
        state=RunState.RUNNING,
        plan=made,
        who="ann",
        holder="ann@ops, process 7",
        reason="",
        ticket="",
        made=0,
        began=0,
        ended=None,
        steps=(),
    )
    around = registry.runbook_of(run, SESSION, None).around  # type: ignore[arg-type]

    async def enter() -> None:
        async with around(running(made, steps[at])):
            pass

    asyncio.run(enter())
    return len(asked)


@pytest.mark.parametrize("runbook", ["reattach", "restart", "reconcile", "restore"])
def test_no_runbook_starts_while_there_are_two_hosts(
    runbook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="healthy: old: fenced host") as caught:
        entered(runbook, monkeypatch)
    assert "switch it off at once" in caught.value.came_back
    assert entered(runbook, monkeypatch, at=1) == 0, "what is under way is resumed"
    assert entered(runbook, monkeypatch, skip_gates=["healthy"]) == 0


def test_a_witness_that_is_left_out_is_not_asked_about_addresses_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Refused):  # for the fenced host, which is asked about all the same
        entered("replace", monkeypatch, spare="spare1", without_witnesses=["compute2"])


def test_what_puts_that_right_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for runbook in ("power-off", "backup", "spare"):
        assert entered(runbook, monkeypatch) == 0


def run_of(state: RunState) -> RunRecord:
    return RunRecord(
        id="power-off-1",
        state=state,
        plan=power_off.plan(CLOUD, "old"),
        who="ann",
        holder="",
        reason="",
        ticket="",
        made=0,
        began=None,
        ended=None,
        steps=(),
    )


def test_a_run_of_a_fenced_host_is_resumed_as_of_this_cloud() -> None:
    """The watch lets `backstay runs resume` carry it out."""
    runs._require_hosts_of(run_of(RunState.PLANNED), CLOUD)


def test_it_waits_for_no_other_run_and_keeps_none_from_its_start() -> None:
    run = run_of(RunState.RUNNING)
    assert lock_names(run.plan) == ["lab/old"], (
        "a nightly backup may hold the cloud's lock for hours"
    )
    other = replace(run, plan=replace(run.plan, runbook="restart"))
    assert lock_names(other.plan) == ["lab", "lab/old"]
    asked = gates_asked(run)
    assert gates.runs(asked) == []
    assert len(gates.runs(gates_asked(other))) == 1


def gates_asked(run: RunRecord) -> gates.GateInput:
    async def idle() -> list[Any]:
        return []

    return gates.GateInput(
        cloud=CLOUD,
        host="controller",
        run="reboot-2",
        now=0.0,
        findings=(),
        known=None,
        on_host=None,
        in_flight=idle,
        idle=0.0,
        runs=[run],
        progress=lambda _: None,
    )
