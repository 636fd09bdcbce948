"""`lab up` killed at any instant: a second `up` or `down` finishes cleanly and leaves nothing."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import BACKSTAY, Lab

pytestmark = pytest.mark.lab

NAME = "interrupted"


def traces() -> dict[str, list[str]]:
    """Everything on this machine that belongs to the lab of that name, by kind."""
    mounts = [m for m in Path("/proc/mounts").read_text().splitlines() if f"/{NAME}/" in m]
    cgroups = [
        str(path)
        for root in Path("/sys/fs/cgroup").iterdir()
        if root.is_dir()
        for path in root.glob(f"*{NAME}*")
    ]
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    return {
        "mounts": mounts,
        "cgroups": cgroups,
        "loops": [line for line in loops.splitlines() if f"/{NAME}/" in line],
        "processes": [pid for pid in processes() if pid != str(os.getpid())],
    }


def processes() -> list[str]:
    """Processes whose command line names the lab's folder or the lab as an argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(f"labs/{NAME}" in word or word == NAME for word in words):
            found.append(path.parent.name)
    return found


def machine() -> tuple[set[str], str]:
    """Network interfaces and nft tables of the machine."""
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return {path.name for path in Path("/sys/class/net").iterdir()}, tables.stdout


@pytest.mark.parametrize("after", [0.3, 0.8, 1.5, 2.5, 4.0, 6.0])
def test_killed_while_coming_up_then_taken_down(lab: Lab, after: float) -> None:
    before = machine()
    up = subprocess.Popen(
        [BACKSTAY, "lab", "up", "--name", NAME, "--only", "spare1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)  # the instant of the kill is the story's parameter, nothing is awaited
    up.send_signal(signal.SIGKILL)
    up.wait(timeout=10)
    lab.backstay("lab", "down", "--name", NAME, bound=120)
    assert traces() == {"mounts": [], "cgroups": [], "loops": [], "processes": []}
    assert machine() == before


def test_killed_while_coming_up_then_brought_up(lab: Lab) -> None:
    try:
        up = subprocess.Popen(
            [BACKSTAY, "lab", "up", "--name", NAME, "--only", "spare1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(2.0)  # half-way; see above
        up.send_signal(signal.SIGKILL)
        up.wait(timeout=10)
        lab.backstay("lab", "up", "--name", NAME, "--only", "spare1", bound=300)
        done = lab.backstay("lab", "shell", "--name", NAME, "spare1", "hostname")
        assert done.stdout.strip() == "spare1"
    finally:
        lab.backstay("lab", "down", "--name", NAME, bound=120)
