"""The host that was found dead comes back while it is replaced: never two in one place."""

import contextlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay_lab.errors import LabError
from backstay_lab.faults import lifecycle
from tests.acceptance.background_load import again_and_again
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with, last_run
from tests.acceptance.replacements import (
    as_built,
    as_each_step_begins,
    asked_who_has,
    board,
    command,
    host_of,
    is_taken_over,
    replace,
    resume,
    standing_still,
)
from tests.acceptance.test_backup import create
from tests.acceptance.test_clients import objects_have_their_digests

pytestmark = pytest.mark.lab

HOST = "controller"
WAYS = ("power-off", "cut-network")
NOT_FENCED = (".confirm", ".prepare", ".fence")
PORT = 8080  # at which a storage proxy serves


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        create(lab, file, "--verify")
        yield file
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()


@dataclass
class Looks:
    """How often a host was looked at, and when it took connections (Unix seconds)."""

    looked: int = 0
    seen: list[float] = field(default_factory=list)


@contextmanager
def looked_whether_it_listens(lab: Lab, name: str, port: int) -> Iterator[Looks]:
    """Look all the while, by its console, whether the old host takes connections at a port."""
    host, looks = host_of(lab, name), Looks()

    def look() -> None:
        # Its power may go at any moment, and with it whoever looks.
        with contextlib.suppress(BackstayError):
            looked = host.run(["ss", "-Hltn", f"sport = :{port}"], bound=10, check=False)
            looks.looked += looked.returncode == 0
            if looked.stdout:
                looks.seen.append(time.time())

    with again_and_again(look, 0.2):
        yield looks


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_one_that_comes_back_before_it_is_fenced_is_left_alone(
    lab: Lab, cloud: Path, way: str
) -> None:
    for step in ("confirm", "prepare", "fence"):
        lab.backstay("lab", "break", way, HOST)
        with standing_still(lab, f"{HOST}.{step}", *command(cloud, HOST)) as running:
            lab.backstay("lab", "heal")
            booted = host_of(lab, HOST).boot_id()
            running.send_signal(signal.SIGCONT)
            said = running.communicate(timeout=120)[0]
        assert running.returncode == 4, said
        assert "it is alive" in said or "it is there, and not healthy" in said
        assert "compute1:" in said, "witnesses are named"
        assert host_of(lab, HOST).boot_id() == booted is not None
    lab.wait_green()


@pytest.fixture
def rebuilt(lab: Lab, cloud: Path) -> Iterator[None]:
    """The lab as it was built, afterwards."""
    yield
    as_built(lab)


@pytest.mark.slow
@pytest.mark.usefixtures("rebuilt")
def test_one_whose_faults_are_healed_after_it_is_fenced_stays_off(lab: Lab, cloud: Path) -> None:
    """It was only cut off, and is fenced by its power. Then mains and network come back."""
    lab.backstay("lab", "break", "cut-network", HOST)
    told: list[str] = []

    def comes_back(step: str) -> None:
        if step.endswith(NOT_FENCED):
            return
        for way in WAYS:
            # From a certain step on its address answers, by the spare: the cut is not to be seen.
            with contextlib.suppress(LabError):
                lifecycle.break_(host.lab, way, HOST, {})
        told.extend(
            str(one.error) for one in lifecycle.heal(host.lab) if one.record.fault == "power-off"
        )

    host = host_of(lab, HOST)
    with asked_who_has(lab, HOST) as answers, as_each_step_begins(comes_back):
        replace(lab, cloud, HOST)
    assert len(told) == len(last_run(lab)["steps"]) - len(NOT_FENCED)
    assert all("the mains are back, and its board is set to keep it off" in one for one in told)
    assert not answers.two_at_once()
    for seen in answers.seen.values():
        assert seen[-1] != seen[0] == []
    assert host.power_state() == "off"
    is_taken_over(cloud, HOST)


@pytest.mark.slow
@pytest.mark.usefixtures("rebuilt")
def test_one_that_is_switched_on_after_it_is_fenced_is_off_before_it_serves(
    lab: Lab, cloud: Path
) -> None:
    """A host of the lab has no firmware: it answers ping within two seconds of its button."""
    host, pressed = "proxy", list[str]()
    lab.backstay("lab", "break", "power-off", host)

    def is_pressed(step: str) -> None:
        if step.endswith((".packages", ".adopt", ".build")):
            board(lab, host, "cycle")
            pressed.append(step)

    with looked_whether_it_listens(lab, host, PORT) as looks, as_each_step_begins(is_pressed):
        done = replace(lab, cloud, host, ok=False)
        print(done.stdout, done.stderr)
        while done.returncode == 2:
            # It was seen before the spare had its address, or its first packets disturbed a step.
            assert f"{host} was switched on meanwhile" in done.stdout
            done = resume(lab, cloud)
            print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert len(pressed) == 3
    assert looks.looked > 0, "it was on, if not for long"
    assert looks.seen == []
    assert host_of(lab, host).power_state() == "off"
    is_taken_over(cloud, host)
    objects_have_their_digests(lab)
