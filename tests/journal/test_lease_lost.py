"""A run whose lock or epoch is taken away stops within seconds: its effects are counted."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError
from backstay.journal.action import Action, Runbook, Running
from backstay.journal.engine import carry_out
from backstay.journal.locks import LockLost
from backstay.journal.plan import Plan, Step
from backstay.journal.records import LeaseLost, RunState, StepState
from backstay.journal.result import StepResult
from backstay.journal.store import Store
from tests.journal.etcd_gateway import Gateway, etcd_gateway
from tests.journal.etcd_server import EtcdServer, etcd_server

WITHIN = 5.0
PLAN = Plan(
    runbook="trial",
    cloud="lab",
    targets=("a",),
    steps=(
        Step(id="a.work", action="work", target="a", does="work", bound=60),
        Step(id="a.more", action="work", target="a", does="work on", bound=60),
    ),
)
SHORT = dataclasses.replace(PLAN, steps=PLAN.steps[:1])


class Works(Action[StepResult]):
    """Has an effect every 50 ms, and goes on whatever its progress reports raise."""

    def __init__(self, *, reports: bool = False) -> None:
        self.effects: list[float] = []
        self.reports = reports

    async def do(self, running: Running) -> StepResult:
        while True:
            self.effects.append(time.monotonic())
            if self.reports:
                try:
                    running.report("working")
                except BackstayError:
                    self.effects.append(time.monotonic())
            await asyncio.sleep(0.05)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/journal.db")


def lose(
    store: Store, locks: str, take_away: Callable[[], object], work: Works, *, within: float
) -> tuple[BackstayError, int]:
    """Carry out a run, take something away meanwhile; return its error, and the effects after."""
    run = store.run(store.create(PLAN))
    taken = threading.Event()
    moment: list[float] = []

    def other() -> None:
        while len(work.effects) < 3:
            time.sleep(0.01)
        take_away()
        moment.append(time.monotonic())
        taken.set()

    threading.Thread(target=other, daemon=True).start()
    with pytest.raises((LeaseLost, LockLost)) as raised:
        asyncio.run(
            carry_out(
                store,
                run,
                Runbook(actions={"work": work}),
                locks=locks,
                progress=lambda _progress: None,
            )
        )
    assert taken.is_set()
    late = [at for at in work.effects if at > moment[0] + within]
    return raised.value, len(late)


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def remove(folder: Path) -> None:
    for file in files(folder):
        file.unlink()


def replace(folder: Path) -> None:
    for file in files(folder):
        file.unlink()
        file.write_text("")


def close_another_descriptor(folder: Path) -> None:
    for file in files(folder):
        file.open().close()  # which ends this process's locks on it


@pytest.mark.parametrize("way", [remove, replace, close_another_descriptor])
def test_a_lock_file_that_is_taken_away(
    store: Store, tmp_path: Path, way: Callable[[Path], None]
) -> None:
    folder = tmp_path / "locks"
    error, late = lose(store, f"file://{folder}", lambda: way(folder), Works(), within=WITHIN)
    assert late == 0
    assert isinstance(error, LockLost)
    assert "backstay runs list" in error.remedy
    run = store.run("trial-1")
    assert run.state is RunState.FAILED, "the run is left in a state that can be resumed"
    assert [step.state for step in run.steps] == [StepState.FAILED, StepState.WAITING]
    assert "lock" in run.steps[0].error["came_back"]


@pytest.mark.parametrize("reports", [False, True])
def test_a_run_that_is_abandoned(store: Store, tmp_path: Path, reports: bool) -> None:
    def abandon() -> None:
        Store(store._database.url).abandon("trial-1", ["lab", "lab/a"], "given up")

    work = Works(reports=reports)
    error, late = lose(store, f"file://{tmp_path}/locks", abandon, work, within=WITHIN)
    assert late == 0
    assert isinstance(error, LeaseLost)
    assert "abandoned by" in error.came_back
    assert store.run("trial-1").state is RunState.ABANDONED


def test_a_run_that_is_taken_over(store: Store, tmp_path: Path) -> None:
    def take() -> None:
        other = Store(store._database.url)
        other.take(other.create(PLAN), ["lab", "lab/a"])

    error, late = lose(store, f"file://{tmp_path}/locks", take, Works(), within=WITHIN)
    assert late == 0
    assert "for run trial-2" in error.came_back


def test_abandoning_an_older_run_leaves_the_one_that_is_under_way(store: Store) -> None:
    old, new = store.create(PLAN), store.create(PLAN)
    store.take(old, ["lab", "lab/a"])
    claim = store.take(new, ["lab", "lab/a"])
    store.abandon(old, ["lab", "lab/a"], "given up")
    store.confirm(claim)
    store.start(claim, "a.work")


class Holds(Works):
    """Holds back a cancellation, as a cleanup may that suppresses it."""

    async def do(self, running: Running) -> StepResult:
        while True:
            self.effects.append(time.monotonic())
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                if len([at for at in self.effects if at]) > 10_000:
                    raise
                self.effects.append(time.monotonic())
                await asyncio.sleep(0.05)
                running.require_lease()


def test_a_step_that_holds_back_its_cancellation(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    _, late = lose(store, f"file://{folder}", lambda: remove(folder), Holds(), within=WITHIN)
    assert late == 0


@pytest.fixture(params=["gateway", "server"])
def etcd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway | EtcdServer]:
    """Give an etcd: the gateway is one everywhere, the server where its package is installed."""
    server = request.param == "server"
    with etcd_server(tmp_path / "etcd") if server else etcd_gateway() as one:
        yield one


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("steal", "another process holds it"),
        ("remove", "its key in etcd is gone"),
        ("revoke", "its key in etcd is gone"),
    ],
)
def test_by_etcd_a_lock_that_is_taken_away(
    store: Store, etcd: Gateway | EtcdServer, way: str, why: str
) -> None:
    error, late = lose(store, etcd.url, getattr(etcd, way), Works(), within=WITHIN)
    assert late == 0
    assert isinstance(error, LockLost)
    assert why in error.came_back
    assert store.run("trial-1").state is RunState.FAILED


def test_by_etcd_that_is_silent_the_lock_is_lost_when_its_life_is_over(
    store: Store, etcd: Gateway | EtcdServer
) -> None:
    def fall_silent() -> None:
        etcd.await_renewal()  # the run may not count from a later moment than etcd does
        etcd.pause()

    work, life = Works(), 8
    error, late = lose(store, f"{etcd.url}?lock_timeout={life}", fall_silent, work, within=life)
    assert late == 0, "another process may take the lock from then on"
    assert "was not reached for" in error.came_back
    assert len(work.effects) > 20, "it went on while the lock was surely its own"


def test_by_etcd_that_has_ended_the_lock_is_lost_when_its_life_is_over(
    store: Store, tmp_path: Path
) -> None:
    life = 8
    with etcd_server(tmp_path / "etcd") as server:
        url = f"{server.url}?lock_timeout={life}"
        error, late = lose(store, url, server.kill, Works(), within=life)
    assert late == 0
    assert "was not reached for" in error.came_back


def test_by_etcd_that_is_started_again_the_run_goes_on(store: Store, tmp_path: Path) -> None:
    class Takes(Action[StepResult]):
        async def do(self, running: Running) -> StepResult:
            server.kill()
            await asyncio.sleep(3)  # away, for less than the lock lives
            await asyncio.to_thread(server.start)
            await asyncio.sleep(6)  # and then longer than a lock lives that is not renewed
            return StepResult(summary="done")

    run = store.run(store.create(SHORT))
    runbook = Runbook(actions={"work": Takes()})
    with etcd_server(tmp_path / "etcd") as server:
        locks = f"{server.url}?lock_timeout=8"
        done = carry_out(store, run, runbook, locks=locks, progress=lambda _: None)
        assert asyncio.run(done) is RunState.DONE


@pytest.mark.parametrize("etcd", ["gateway"], indirect=True)
def test_by_etcd_a_run_that_loses_nothing(store: Store, etcd: Gateway | EtcdServer) -> None:
    class Takes(Action[StepResult]):
        async def do(self, running: Running) -> StepResult:
            await asyncio.sleep(7)
            return StepResult(summary="done")

    run = store.run(store.create(SHORT))
    runbook = Runbook(actions={"work": Takes()})
    locks = f"{etcd.url}?lock_timeout=5"
    done = carry_out(store, run, runbook, locks=locks, progress=lambda _: None)
    assert asyncio.run(done) is RunState.DONE


def test_a_journal_is_known_by_its_name(store: Store, tmp_path: Path) -> None:
    one = store.take(store.create(PLAN), ["lab"])
    again = store.take(one.run, ["lab"])
    other: Any = Store(f"sqlite:///{tmp_path}/other.db")
    assert one.journal == again.journal
    assert other.take(other.create(PLAN), ["lab"]).journal != one.journal
