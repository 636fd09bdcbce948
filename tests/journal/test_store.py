"""The journal: what it keeps, who may write, what it says when it cannot."""

import sqlite3
import stat
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay.journal.plan import Plan, Step
from backstay.journal.records import JournalError, LeaseLost, NoSuchRun, RunState, StepState
from backstay.journal.store import Store

STEP = Step(id="look", action="look", target="controller", does="look", bound=5, arguments={"a": 1})
PLAN = Plan(
    runbook="reboot", cloud="lab", targets=("controller",), steps=(STEP,), settings={"x": [1]}
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'deep' / 'journal.db'}")


def test_a_plan_comes_back_as_it_was_written(store: Store) -> None:
    run = store.run(store.create(PLAN, reason="kernel", ticket="OPS-1"))
    assert run.plan == PLAN
    assert (run.id, run.reason, run.ticket, run.state) == (
        "reboot-1",
        "kernel",
        "OPS-1",
        RunState.PLANNED,
    )
    assert store.run("1") == run


def test_the_file_is_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    store.create(PLAN)
    mode = (tmp_path / "deep" / "journal.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_step_from_beginning_to_end(store: Store) -> None:
    name = store.create(PLAN)
    claim = store.take(name, ["lab"])
    started = store.start(claim, "look")
    assert store.start(claim, "look") == started
    store.progress(claim, "look", "half-way")
    store.finish(claim, "look", {"seen": 3})
    store.end(claim, RunState.DONE)
    run = store.run(name)
    step = run.steps[0]
    assert (step.state, step.result, step.attempts) == (StepState.DONE, {"seen": 3}, 2)
    assert run.seconds is not None
    kinds = [event.kind for event in store.events(name)]
    assert kinds == ["taken", "started", "started", "progress", "done", "done"]


def test_who_was_taken_over_writes_nothing_more(store: Store) -> None:
    first, second = store.create(PLAN), store.create(PLAN)
    old = store.take(first, ["lab", "lab/controller"])
    store.start(old, "look")
    store.take(second, ["lab"])
    with pytest.raises(LeaseLost, match=r"lab was taken over by .* for run reboot-2"):
        store.finish(old, "look", {})
    assert store.run(first).steps[0].state is StepState.RUNNING


def test_an_error_is_kept_with_its_remedy(store: Store) -> None:
    claim = store.take(store.create(PLAN), ["lab"])
    store.start(claim, "look")
    store.fail(claim, "look", BackstayError("looking", came_back="nothing", remedy="look again"))
    step = store.run("1").steps[0]
    assert step.error == {"attempted": "looking", "came_back": "nothing", "remedy": "look again"}


def test_an_abandoned_run_cannot_go_on(store: Store) -> None:
    name = store.create(PLAN)
    claim = store.take(name, ["lab"])
    store.abandon(name, ["lab"], "the host is gone")
    with pytest.raises(LeaseLost):
        store.start(claim, "look")
    assert store.run(name).state is RunState.ABANDONED


def test_no_such_run(store: Store) -> None:
    with pytest.raises(NoSuchRun):
        store.run("reboot-7")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+nothing://u:geheim@127.0.0.1/x", "postgresql"),
        ("not a url", "BACKSTAY_JOURNAL"),
        ("sqlite:////proc/nowhere/journal.db", "/proc/nowhere"),
    ],
)
def test_a_journal_that_cannot_be_used(url: str, told: str) -> None:
    with pytest.raises(JournalError) as raised:
        Store(url).runs()
    whole = f"{raised.value} {raised.value.remedy}"
    assert told in whole
    assert "geheim" not in whole


def test_readers_wait_for_no_writer(store: Store, tmp_path: Path) -> None:
    run = store.create(PLAN)
    file = tmp_path / "deep" / "journal.db"
    busy = Store(f"sqlite:///{file}", busy=0.2)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert [one.id for one in busy.runs()] == [run]
        with pytest.raises(JournalError, match="locked"):
            busy.create(PLAN)
        other.execute("ROLLBACK")
    assert busy.create(PLAN) != run
