"""A dead controller, and a dead storage proxy, built anew on the spare."""

import itertools
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import test_clients as clients
from tests.acceptance.background_load import pinging
from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with, last_run, result
from tests.acceptance.replacements import (
    FENCED,
    as_built,
    command,
    is_green,
    is_taken_over,
    replace,
    resuming,
)
from tests.acceptance.test_backup import Writer, create
from tests.acceptance.test_clients import in_sh, objects_have_their_digests
from tests.acceptance.test_lab import volume_has_its_data
from tests.acceptance.test_stream import caught_up, status, streaming

pytestmark = pytest.mark.lab

INSTANTS = 10
LONGEST = 18.0  # seconds until it is killed again: all together less than any replacement takes


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        yield file
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()
    as_built(lab)


def the_clients_work(lab: Lab) -> None:
    """The commands of the seed's users go on as before."""
    for question in ("server list", "image list", "volume list", "network list"):
        in_sh(lab, f"openstack {question}")
    clients.test_openstack_server_list_shows_the_running_instances(lab)
    clients.test_glance_image_list(lab)
    clients.objects_have_their_digests(lab)


def image_digest(lab: Lab) -> str:
    """The digest of the data of the seeded image, as its users get them."""
    return in_sh(lab, f"glance image-download {lab.seed['image']} | sha256sum").split()[0]


def test_a_proxy(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "proxy", "--verify")
    lab.backstay("lab", "break", "dead-board", "proxy")
    done = replace(lab, cloud, "proxy")
    print(done.stdout)
    objects_have_their_digests(lab)
    is_taken_over(cloud, "proxy")
    is_green(lab, cloud)


@pytest.mark.slow
def test_a_proxy_whose_bmc_is_busy_while_it_switches(lab: Lab, cloud: Path) -> None:
    """Its power is cut, and read back when its BMC answers again: no refusal in between."""
    create(lab, cloud, "proxy", "--verify")
    lab.backstay("lab", "break", "busy-bmc", "proxy")
    lab.backstay("lab", "break", "cut-network", "proxy")
    replace(lab, cloud, "proxy")
    fenced = result(last_run(lab), "proxy.fence")
    assert fenced["how"] == "power"
    assert fenced["summary"].startswith("power off, read back by its BMC")
    is_taken_over(cloud, "proxy")
    lab.backstay("lab", "heal", "busy-bmc")


@pytest.mark.slow
def test_a_proxy_killed_at_every_step_boundary(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "proxy", "--verify")
    lab.backstay("lab", "break", "dead-board", "proxy")
    arguments = command(cloud, "proxy")
    for count in itertools.count():
        point = ("done", "started")[count % 2]
        run = subprocess.run(
            [sys.executable, "-m", "tests.acceptance.killed_reboot", point, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, run.stdout + run.stderr
        arguments = resuming(lab, cloud)
    assert count >= len(last_run(lab)["steps"]) - 1
    assert last_run(lab)["state"] == "done"
    objects_have_their_digests(lab)
    is_taken_over(cloud, "proxy")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (("cut-network", "controller", "--from", "operator"), "cut off from here only"),
        (("cut-network", "compute1", "--from", "operator"), "alive"),
    ],
    ids=["controller", "compute"],
)
def test_who_is_only_cut_off_from_the_operator_is_not_replaced(
    lab: Lab, cloud: Path, fault: tuple[str, ...], said: str
) -> None:
    create(lab, cloud, "controller", "--verify")
    lab.backstay("lab", "break", *fault)
    done = replace(lab, cloud, "controller", ok=False)
    assert done.returncode == 4, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "compute2:" in done.stdout + done.stderr, "witnesses are named"
    lab.backstay("lab", "heal")
    lab.wait_green()


@pytest.mark.slow
def test_a_controller(lab: Lab, cloud: Path, record_property: Any) -> None:
    with streaming(cloud), pinging(lab) as pings:
        create(lab, cloud, "controller", "--verify")
        image = image_digest(lab)
        caught_up(lab, cloud)
        writer = Writer(lab)
        writer.start()
        try:
            lab.wait_until(lambda: len(writer.acknowledged) > 20, what="the writer writes")
        finally:
            lab.backstay("lab", "break", "dead-board", "controller")
            writer.stop()
        lab.wait_until(lambda: status(lab, cloud)[1]["state"]["doing"] == "failed", what="noticed")
        told = status(lab, cloud)[1]
        known = min(told["state"]["caught_up_at"], told["files_whole_at"])
        print(replace(lab, cloud, "controller").stdout)
        # Images whose data were lost are in no backup that can be proved.
        unproved = "problem" in result(last_run(lab), "controller.verify")
        beside = ["verified backup"] * unproved
        is_green(lab, cloud, *beside)
        deep = lab.check("--deep", "--cloud", str(cloud))
        print([(one["subject"], one["evidence"]) for one in deep.bad()])
    lost = [one for one in writer.acknowledged if not writer.is_there(*one[1:])]
    late = [one for one in lost if one[0] > known]
    print(
        f"{len(writer.acknowledged)} writes acknowledged, {len(lost)} lost: {lost}; "
        f"{pings.sent} pings, {len(pings.lost)} lost"
    )
    record_property("acknowledged writes", len(writer.acknowledged))
    record_property("lost", len(lost))
    assert lost == late, "what the stream had is there"
    assert pings.lost == []
    is_taken_over(cloud, "controller")
    assert result(last_run(lab), "controller.agents")["left"] == []
    assert {f["subject"] for f in deep.bad()} == {FENCED, *beside}
    the_clients_work(lab)
    assert image_digest(lab) == image
    volume_has_its_data(lab, "spare1")
    writer.clean()


@pytest.mark.slow
def test_a_controller_killed_at_random_instants(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "controller", "--verify")
    lab.backstay("lab", "break", "dead-board", "controller")
    chosen, arguments = random.Random(6), command(cloud, "controller")
    for _ in range(INSTANTS):
        running = subprocess.Popen(
            [BACKSTAY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            ended = running.wait(timeout=chosen.uniform(1, LONGEST))
            pytest.fail(f"it was to be killed, and ended with {ended}")
        except subprocess.TimeoutExpired:
            running.kill()
        running.wait(timeout=10)
        arguments = resuming(lab, cloud)
    lab.backstay(*arguments, bound=1500)
    assert last_run(lab)["state"] == "done"
    is_taken_over(cloud, "controller")
