"""Carrying out: what ends a run, and what the next one starts from."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError
from backstay.journal.action import Action, Refused, Runbook, Running
from backstay.journal.engine import Progress, carry_out
from backstay.journal.locks import LockHeld
from backstay.journal.plan import Plan, Step
from backstay.journal.records import LeaseLost, RunState, StepState
from backstay.journal.store import Store
from tests.journal.child import JsonResult


def step(name: str, target: str = "a", bound: float = 5) -> Step:
    return Step(id=f"{target}.{name}", action=name, target=target, does=name, bound=bound)


def error(kind: type[BackstayError]) -> BackstayError:
    return kind("trying", came_back="no", remedy="try later")


class Does(Action[JsonResult]):
    """Does what it is told to; remembers what it was asked."""

    def __init__(self, outcome: Any = None, probed: Mapping[str, Any] | None = None) -> None:
        self.outcome = outcome
        self.probed = probed
        self.asked: list[str] = []

    async def do(self, running: Running) -> JsonResult:
        self.asked.append("do")
        outcome = self.outcome(running) if callable(self.outcome) else self.outcome
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "hang":
            await asyncio.sleep(60)
        return JsonResult(data={"seen": sorted(running.results)})

    async def probe(self, running: Running) -> JsonResult | None:
        self.asked.append("probe")
        return None if self.probed is None else JsonResult(data=self.probed)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/journal.db")


def carry(
    store: Store, tmp_path: Path, actions: Mapping[str, Action[Any]], run: str = ""
) -> tuple[RunState, list[Progress]]:
    steps = (step("look"), step("work", bound=0.3), step("look", "b"), step("work", "b"))
    plan = Plan(runbook="trial", cloud="lab", targets=("a", "b"), steps=steps)
    name, seen = run or store.create(plan), list[Progress]()
    locks = f"file://{tmp_path}/locks"
    record = store.run(name)
    state = asyncio.run(
        carry_out(store, record, Runbook(actions=actions), locks=locks, progress=seen.append)
    )
    return state, seen


def test_all_is_well_and_later_steps_see_earlier_ones(store: Store, tmp_path: Path) -> None:
    state, seen = carry(store, tmp_path, {"look": Does(), "work": Does()})
    assert state is RunState.DONE
    assert store.run("1").steps[3].result == {"seen": ["a.look", "a.work", "b.look"]}
    assert [one.kind for one in seen] == ["started", "done"] * 4


def test_a_refusal_before_anything_was_changed(store: Store, tmp_path: Path) -> None:
    work = Does()
    state, _ = carry(store, tmp_path, {"look": Does(error(Refused)), "work": work})
    assert state is RunState.REFUSED
    assert work.asked == []


def test_a_refusal_of_the_second_host_leaves_the_run_half_way(store: Store, tmp_path: Path) -> None:
    def second(running: Running) -> BackstayError | None:
        return error(Refused) if running.step.target == "b" else None

    state, _ = carry(store, tmp_path, {"look": Does(second), "work": Does()})
    assert state is RunState.FAILED
    assert store.run("1").state.in_flight


def test_a_failure_is_probed_before_it_is_tried_again(store: Store, tmp_path: Path) -> None:
    failing = {"look": Does(), "work": Does(error(BackstayError))}
    state, seen = carry(store, tmp_path, failing)
    assert state is RunState.FAILED
    assert seen[-1].error is not None
    record = store.run("1")
    assert [one.state for one in record.steps] == [
        StepState.DONE,
        StepState.FAILED,
        StepState.WAITING,
        StepState.WAITING,
    ]
    assert record.steps[1].error["remedy"] == "try later"
    look, work = Does(), Does(probed={"found": True})
    assert carry(store, tmp_path, {"look": look, "work": work}, "trial-1")[0] is RunState.DONE
    assert work.asked == ["probe", "do"], "the first was there already, the second was not started"
    assert look.asked == ["do"], "the first look was done and is not repeated"
    assert store.run("1").steps[1].result == {"found": True}


def test_a_step_that_hangs_is_given_up_at_its_bound(store: Store, tmp_path: Path) -> None:
    state, seen = carry(store, tmp_path, {"look": Does(), "work": Does("hang")})
    assert state is RunState.FAILED
    assert "within its bound of 0.3 s" in seen[-1].text


def test_a_mistake_of_our_own_leaves_a_run_that_can_be_resumed(
    store: Store, tmp_path: Path
) -> None:
    state, seen = carry(store, tmp_path, {"look": Does(), "work": Does(KeyError("x"))})
    assert state is RunState.FAILED
    assert "an error in Backstay itself: KeyError: 'x' (test_engine.py:" in seen[-1].text
    assert store.run("1").state.in_flight


def test_what_is_around_a_step_sees_its_probe_its_work_and_its_error(
    store: Store, tmp_path: Path
) -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def around(running: Running) -> AsyncIterator[None]:
        seen.append(f"before {running.step.id}")
        try:
            yield
        except BackstayError as error:
            error.remedy = f"look around; then: {error.remedy}"
            raise
        finally:
            seen.append("after")

    def works(_running: Running) -> BackstayError | None:
        seen.append("work")
        return error(BackstayError) if seen.count("work") == 1 else None

    plan = Plan(runbook="trial", cloud="lab", targets=("a",), steps=(step("work"),))
    runbook = Runbook(actions={"work": Does(works)}, around=around)
    name, progress, locks = store.create(plan), list[Progress](), f"file://{tmp_path}/locks"
    for _ in range(2):
        run = store.run(name)
        asyncio.run(carry_out(store, run, runbook, locks=locks, progress=progress.append))
    assert seen == ["before a.work", "work", "after"] * 2
    [failed] = [one.error for one in progress if one.error]
    assert failed.remedy == "look around; then: try later"


def test_who_is_taken_over_stops_before_the_next_change(store: Store, tmp_path: Path) -> None:
    def take_over(_running: Running) -> None:
        store.take(store.create(store.run("1").plan), ["lab"])

    work = Does()
    with pytest.raises(LeaseLost):
        carry(store, tmp_path, {"look": Does(take_over), "work": work})
    assert work.asked == []


def test_a_lock_that_is_held_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    def second_operator(_running: Running) -> None:
        plan = Plan(runbook="trial", cloud="lab", targets=("b",), steps=(step("look", "b"),))
        record = store.run(store.create(plan))
        locks = f"file://{tmp_path}/locks"
        other = carry_out(store, record, Runbook(actions={}), locks=locks, progress=lambda _: None)
        with pytest.raises(LockHeld, match="for run trial-1"):
            in_thread(asyncio.new_event_loop(), other)

    state, _ = carry(store, tmp_path, {"look": Does(second_operator), "work": Does()})
    assert state is RunState.DONE


def in_thread(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    """Run a coroutine on another thread, as another operator would, and raise what it raises."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(loop.run_until_complete, work).result(timeout=30)
    loop.close()


class NoJson(JsonResult):
    def to_json(self) -> dict[str, Any]:
        raise RecursionError


class GivesNoJson(Action[JsonResult]):
    async def do(self, running: Running) -> JsonResult:
        return NoJson(data={})


@pytest.mark.parametrize(
    ("actions", "why"),
    [
        ({"look": Does(), "work": GivesNoJson()}, "RecursionError"),
        ({"look": Does()}, "KeyError: 'work'"),
        ({"look": Does(), "work": Does(MemoryError())}, "MemoryError"),
        ({"look": Does(), "work": Does(ExceptionGroup("two", [KeyError("x")]))}, "KeyError: 'x'"),
    ],
)
def test_whatever_a_step_raises_is_its_failure_in_the_journal(
    store: Store, tmp_path: Path, actions: Mapping[str, Action[Any]], why: str
) -> None:
    state, seen = carry(store, tmp_path, actions)
    assert state is RunState.FAILED
    failed = store.run("1").steps[1]
    assert failed.state is StepState.FAILED
    assert f"an error in Backstay itself: {why}" in failed.error["came_back"]
    assert failed.error["remedy"].endswith("backstay runs resume trial-1")
    assert seen[-1].error is not None


def test_a_terminal_that_is_gone_does_not_stop_a_run(store: Store, tmp_path: Path) -> None:
    def gone(_: Progress) -> None:
        raise BrokenPipeError

    plan = Plan(runbook="trial", cloud="lab", targets=("a",), steps=(step("look"),))
    record = store.run(store.create(plan))
    runbook = Runbook(actions={"look": Does(lambda running: running.report("still here"))})
    locks = f"file://{tmp_path}/locks"
    work = carry_out(store, record, runbook, locks=locks, progress=gone)
    assert asyncio.run(work) is RunState.DONE
    assert "still here" in [event.text for event in store.events("trial-1")]
