"""Hosts that a run takes down on purpose are silenced, and not forever."""

from dataclasses import replace

from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord, RunState
from backstay.watch.detect.silences import AFTER, silences

STEPS = (Step(id="c1.down", action="down", target="c1", does="see it go down", bound=600),)
RUN = RunRecord(
    id="reboot-7",
    state=RunState.RUNNING,
    plan=Plan(runbook="reboot", cloud="lab", targets=("c1",), steps=STEPS),
    who="root",
    holder="root@ops, process 4711",
    reason="",
    ticket="",
    made=90.0,
    began=100.0,
    ended=None,
    steps=(),
)


def silent(run: RunRecord, now: float, *, alive: bool = True) -> list[str]:
    asked: list[str] = []

    def is_alive(one: RunRecord) -> bool:
        asked.append(one.holder)
        return alive

    found = [one.host for one in silences([run], now, is_alive)]
    assert set(asked) <= {"root@ops, process 4711"}
    return found


def test_a_host_is_silent_during_its_run_and_a_little_after() -> None:
    assert silent(RUN, 120) == ["c1"]
    done = replace(RUN, state=RunState.DONE, ended=300.0)
    assert silent(done, 300 + AFTER - 1) == ["c1"]
    assert silent(done, 300 + AFTER) == []


def test_a_run_whose_process_died_silences_nobody() -> None:
    assert silent(RUN, 120, alive=False) == []


def test_no_run_silences_for_longer_than_its_plan_lasts() -> None:
    assert silent(RUN, 100 + 600 + AFTER) == ["c1"]
    assert silent(RUN, 100 + 600 + AFTER + 1) == []


def test_a_backup_silences_nobody_and_a_run_that_has_not_begun_neither() -> None:
    backup = replace(RUN, plan=replace(RUN.plan, runbook="backup"))
    assert silent(backup, 120) == []
    assert silent(replace(RUN, state=RunState.PLANNED, began=None), 120) == []
