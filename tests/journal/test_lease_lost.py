"""A run whose lock or epoch is taken away stops within seconds: its effects are counted."""

import asyncio
import importlib.util
import sys
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
from tests.journal import etcd_gateway

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


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[etcd_gateway.Gateway, str]]:
    if importlib.util.find_spec("etcd3gw") is None:
        for name, module in etcd_gateway.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "tooz.drivers.etcd3gw", raising=False)
    etcd = etcd_gateway.Gateway()
    server, port = etcd_gateway.served(etcd)
    yield etcd, f"etcd3+http://127.0.0.1:{port}"
    etcd.silent = False
    server.shutdown()
    server.server_close()
    sys.modules.pop("tooz.drivers.etcd3gw", None)


def test_by_etcd_a_lock_that_another_took(
    store: Store, gateway: tuple[etcd_gateway.Gateway, str]
) -> None:
    etcd, url = gateway

    def take() -> None:
        etcd.keys = {key: ("b3RoZXI=", lease) for key, (_, lease) in etcd.keys.items()}

    error, late = lose(store, url, take, Works(), within=WITHIN)
    assert late == 0
    assert "another process holds it" in error.came_back
    assert store.run("trial-1").state is RunState.FAILED


def test_by_etcd_a_lease_that_ran_out(
    store: Store, gateway: tuple[etcd_gateway.Gateway, str]
) -> None:
    etcd, url = gateway

    def expire() -> None:
        etcd.keys = {}

    error, late = lose(store, url, expire, Works(), within=WITHIN)
    assert late == 0
    assert "was not renewed in time" in error.came_back


def test_by_etcd_that_is_silent_the_lock_is_lost_when_its_life_is_over(
    store: Store, gateway: tuple[etcd_gateway.Gateway, str]
) -> None:
    etcd, url = gateway

    def fall_silent() -> None:
        etcd.silent = True

    work, life = Works(), 8
    error, late = lose(store, f"{url}?lock_timeout={life}", fall_silent, work, within=life)
    assert late == 0, "another process may take the lock from then on"
    assert "was not reached for" in error.came_back
    assert len(work.effects) > 20, "it went on while the lock was surely its own"


def test_by_etcd_a_run_that_loses_nothing(
    store: Store, gateway: tuple[etcd_gateway.Gateway, str]
) -> None:
    class Takes(Action[StepResult]):
        async def do(self, running: Running) -> StepResult:
            await asyncio.sleep(7)
            return StepResult(summary="done")

    run = store.run(store.create(PLAN))
    runbook = Runbook(actions={"work": Takes()})
    done = carry_out(
        store, run, runbook, locks=f"{gateway[1]}?lock_timeout=5", progress=lambda _: None
    )
    assert asyncio.run(done) is RunState.DONE


def test_a_journal_is_known_by_its_name(store: Store, tmp_path: Path) -> None:
    one = store.take(store.create(PLAN), ["lab"])
    again = store.take(one.run, ["lab"])
    other: Any = Store(f"sqlite:///{tmp_path}/other.db")
    assert one.journal == again.journal
    assert other.take(other.create(PLAN), ["lab"]).journal != one.journal
