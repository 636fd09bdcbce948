"""A process that carries out a run is killed by SIGKILL; the next one goes on where it was."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backstay.journal.records import RunState, StepState
from backstay.journal.store import Store
from tests.journal import child

RANDOM_INSTANTS = 25


def begin(folder: Path, point: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.journal.child", str(folder), str(point)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def assert_done_once(folder: Path) -> None:
    store = Store(f"sqlite:///{folder / 'journal.db'}")
    runs = store.runs()
    assert [run.state for run in runs] == [RunState.DONE]
    assert [step.state for step in runs[0].steps] == [StepState.DONE] * len(child.STEPS)
    assert (folder / "effects").read_text().split() == [step.id for step in child.STEPS]
    store.close()


def test_killed_at_every_point(tmp_path: Path) -> None:
    point = 0
    while True:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        first = begin(folder, point)
        first.communicate(timeout=60)
        if first.returncode == 0:
            break  # it has no such point any more
        assert first.returncode == -signal.SIGKILL
        child.main(folder, 0)
        assert_done_once(folder)
    assert point > 4 * len(child.STEPS)


def test_killed_at_random_instants(tmp_path: Path) -> None:
    started = time.monotonic()
    begin(tmp_path).communicate(timeout=60)
    whole = time.monotonic() - started
    chosen = random.Random(4)
    for number in range(RANDOM_INSTANTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        first = begin(folder)
        try:
            first.wait(timeout=chosen.uniform(0.3, 1.0) * whole)
        except subprocess.TimeoutExpired:
            first.kill()
        first.communicate(timeout=60)
        child.main(folder, 0)
        assert_done_once(folder)


def test_a_step_that_was_done_is_not_asked_again(tmp_path: Path) -> None:
    child.main(tmp_path, 0)
    (tmp_path / "effects").write_text("")  # a probe would now call for every step again
    assert child.main(tmp_path, 0) is RunState.DONE
    assert (tmp_path / "effects").read_text() == ""


@pytest.mark.parametrize("point", [3, 8])
def test_attempts_are_counted(tmp_path: Path, point: int) -> None:
    begin(tmp_path, point).communicate(timeout=60)
    child.main(tmp_path, 0)
    store = Store(f"sqlite:///{tmp_path / 'journal.db'}")
    attempts = [step.attempts for step in store.runs()[0].steps]
    assert sum(attempts) in {len(attempts), len(attempts) + 1}
    assert_done_once(tmp_path)
