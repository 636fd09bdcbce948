"""`check --deep` makes real things, and leaves nothing behind even when it is killed."""

import json
import signal
import subprocess

import pytest

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.test_clients import in_sh

pytestmark = pytest.mark.lab

MARKER = "backstay-deep"
INSTANCES = "server list --all-projects"
KINDS = ("image list", INSTANCES, "volume list --all-projects", "container list")


def left_behind(lab: Lab, *kinds: str) -> list[str]:
    """Names of everything in the cloud (or of some kinds) that carries the deep check's marker."""
    return [
        row["Name"]
        for kind in kinds or KINDS
        for row in json.loads(in_sh(lab, f"openstack {kind} -f json"))
        if MARKER in row["Name"]
    ]


def test_deep_check_is_green_and_leaves_nothing(lab: Lab) -> None:
    checked = lab.check("--deep", bound=400)
    assert (checked.exit_status, checked.bad()) == (0, [])
    for made in ("image", "instance", "volume", "object"):
        assert any(f["subject"] == f"deep {made}" for f in checked.findings), made
    assert left_behind(lab) == []


def test_killed_half_way_the_next_run_removes_what_was_left(lab: Lab) -> None:
    running = subprocess.Popen(
        [BACKSTAY, "check", "--deep"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        lab.wait_until(
            lambda: left_behind(lab, INSTANCES) != [], what="the deep check made an instance"
        )
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait(timeout=10)
    assert left_behind(lab) != []
    checked = lab.check("--deep", bound=400)
    assert checked.exit_status == 0, checked.bad()
    assert left_behind(lab) == []
