"""`backstay reboot` is killed by SIGKILL: at every step boundary, and at random instants.

However often it is killed, the host reboots once, and no step that was done is done again.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import boot_id, cloud_with, last_run

pytestmark = [pytest.mark.lab, pytest.mark.slow]

INSTANTS = 50
HOST = "spare1"
# Notes each boot on the disk: what the host itself has seen is the proof.
COUNTS = """[Unit]
Description=notes each boot
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >> /root/boots'
[Install]
WantedBy=sysinit.target
"""


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    lab.shell(HOST, f"cat > /etc/systemd/system/boots.service <<'E'\n{COUNTS}E\n")
    lab.shell(HOST, "systemctl daemon-reload && systemctl enable boots && : > /root/boots")
    try:
        with cloud_with(lab, "maintenance: {settle: 0.5s}\n") as file:
            yield file
    finally:
        lab.shell(HOST, "systemctl disable boots; rm /etc/systemd/system/boots.service /root/boots")


def boots(lab: Lab) -> list[str]:
    return lab.shell(HOST, "cat /root/boots").split()


def assert_resumed_and_rebooted_once(lab: Lab, cloud: Path, before: list[str], runs: int) -> None:
    """Resume what was killed, and look at what the journal and the host itself have noted."""
    listed = json.loads(lab.backstay("runs", "list", "--limit", "999", "-o", "json").stdout)
    if len(listed) == runs:  # killed before anything was written down
        lab.backstay("reboot", HOST, "--now", "--yes", "--cloud", str(cloud))
    elif listed[0]["state"] != "done":
        lab.backstay("runs", "resume", listed[0]["id"], "--cloud", str(cloud))
    run = last_run(lab)
    assert run["state"] == "done"
    kinds = [(event["step"], event["kind"]) for event in run["events"] if event["step"]]
    done = Counter(step for step, kind in kinds if kind == "done")
    assert set(done.values()) == {1}, done
    for step in done:
        mine = [kind for name, kind in kinds if name == step]
        assert "started" not in mine[mine.index("done") :], (step, mine)
    after = boots(lab)
    assert len(after) == len(before) + 1, (run["id"], kinds)
    assert after[-1] == boot_id(lab, HOST)


def test_killed_at_every_step_boundary(lab: Lab, cloud: Path) -> None:
    point = 0
    while True:
        point += 1
        before, arguments = boots(lab), ["reboot", HOST, "--now", "--yes", "--cloud", str(cloud)]
        killed = subprocess.run(
            [sys.executable, "-m", "tests.acceptance.killed_reboot", str(point), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if killed.returncode == 0:
            break  # the run has no such point any more
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        assert_resumed_and_rebooted_once(lab, cloud, before, point - 1)
    assert point > 2 * len(last_run(lab)["steps"])


def test_killed_at_random_instants(lab: Lab, cloud: Path) -> None:
    chosen = random.Random(35)
    command = [str(BACKSTAY), "reboot", HOST, "--now", "--yes", "--cloud", str(cloud)]
    started = time.monotonic()
    subprocess.run(command, capture_output=True, check=True, timeout=300)
    whole = time.monotonic() - started
    for _ in range(INSTANTS):
        before = boots(lab)
        runs = len(json.loads(lab.backstay("runs", "list", "--limit", "999", "-o", "json").stdout))
        running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        try:
            running.wait(timeout=chosen.uniform(0, whole))
        except subprocess.TimeoutExpired:
            running.kill()
        running.wait(timeout=10)
        assert_resumed_and_rebooted_once(lab, cloud, before, runs)
