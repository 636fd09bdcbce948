"""The host that was found dead comes back while it is replaced: never two in one place."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay.inventory.load import load
from backstay.transports.bmc import power_of
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with, last_run, result
from tests.acceptance.replacements import (
    Answering,
    as_built,
    as_each_step_begins,
    command,
    host_of,
    is_taken_over,
    newest,
    replace,
)
from tests.acceptance.test_backup import create

pytestmark = pytest.mark.lab

HOST = "controller"
WAYS = ("power-off", "cut-network")


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        create(lab, file, HOST, "--verify")
        yield file
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()


class Writes:
    """Tries all the while to write into the old host's own database, by its console."""

    def __init__(self, lab: Lab) -> None:
        self.host = host_of(lab, HOST)
        self.accepted: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Writes":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopped.set()
        self._thread.join()

    def since(self, moment: float) -> list[float]:
        """When the old host took a write, after a moment (both Unix)."""
        return [when for when in self.accepted if when > moment]

    def _work(self) -> None:
        while not self._stopped.wait(0.3):
            if self.host.leader() is None:
                continue
            try:
                write = "CREATE DATABASE IF NOT EXISTS came_back"
                if self.host.run(["mariadb", "-e", write], bound=10, check=False).returncode == 0:
                    self.accepted.append(time.time())
            except BackstayError:
                continue  # its power went meanwhile


def press(lab: Lab) -> None:
    """Somebody switches the old host on: by its board, as its button does."""
    target = load(lab.cloud_file).hosts[HOST].bmc
    assert target is not None
    asyncio.run(power_of(target.target(HOST)).cycle())


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_one_that_comes_back_before_it_is_fenced_is_left_alone(
    lab: Lab, cloud: Path, way: str
) -> None:
    for step in ("confirm", "prepare", "fence"):
        lab.backstay("lab", "break", way, HOST)
        with standing_still(lab, cloud, f"{HOST}.{step}") as running:
            lab.backstay("lab", "heal")
            booted = host_of(lab, HOST).boot_id()
            running.send_signal(signal.SIGCONT)
            said = running.communicate(timeout=120)[0]
        print(said)
        assert running.returncode == 4, said
        assert "it is alive" in said or "it is there, and not well" in said
        assert "compute1:" in said, "witnesses are named"
        assert host_of(lab, HOST).boot_id() == booted is not None
    lab.wait_green()


@contextmanager
def standing_still(lab: Lab, cloud: Path, step: str) -> Iterator["subprocess.Popen[str]"]:
    """A replacement that stands still as a step begins."""
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.stopped_run", step, *command(cloud, HOST)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    def stopped() -> bool:
        assert running.poll() is None, running.communicate()[0]
        state = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    try:
        lab.wait_until(stopped, what=f"{step} begins", bound=120, pause=0.1)
        yield running
    finally:
        running.kill()
        running.wait(timeout=10)


@pytest.fixture
def rebuilt(lab: Lab, cloud: Path) -> Iterator[None]:
    """The lab as it was built, afterwards."""
    yield
    as_built(lab)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("rebuilt")
def test_one_that_comes_back_after_it_is_fenced_takes_no_part(
    lab: Lab, cloud: Path, way: str
) -> None:
    """The fault is healed as each step begins, and somebody presses the old host's button."""
    lab.backstay("lab", "break", way, HOST)
    pressed: list[str] = []

    def comes_back(step: str) -> None:
        if step in {f"{HOST}.{one}" for one in ("confirm", "prepare", "fence")}:
            return
        lab.backstay("lab", "heal", ok=False)
        press(lab)
        pressed.append(step)

    with Answering(lab, HOST) as answering, Writes(lab) as writes:
        with as_each_step_begins(comes_back):
            done = replace(lab, cloud, HOST, ok=False)
            print(done.stdout, done.stderr)
            while done.returncode == 2:
                assert last_run(lab)["state"] == "failed"
                arguments = ("runs", "resume", newest(lab)["id"], "--cloud", str(cloud))
                done = lab.backstay(*arguments, bound=1500, ok=False)
                print(done.stdout, done.stderr)
    assert done.returncode == 0
    run = last_run(lab)
    assert {step["id"] for step in run["steps"][3:]} == set(pressed)
    assert any("was switched on: taking its power again" in e["text"] for e in run["events"])
    print(answering.two_at_once(), len(answering.seen["operator"]), len(writes.accepted))
    assert not writes.since(result(run, f"{HOST}.fence")["fenced_at"])
    assert host_of(lab, HOST).power_state() == "off"
    is_taken_over(cloud, HOST)
