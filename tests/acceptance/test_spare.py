"""A spare is made ready for a host: all its packages, nothing started, quick when repeated."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with, last_run, result
from tests.acceptance.test_backup import create

pytestmark = pytest.mark.lab

UNIT = "swift-proxy"


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    bare(lab)
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        create(lab, file, "proxy", "--verify")
        yield file
    bare(lab)


def bare(lab: Lab) -> None:
    """Give the lab a spare on which nothing is."""
    lab.backstay("lab", "break", "dead-board", "spare1")
    lab.backstay("lab", "new-board", "spare1")


def state(lab: Lab, cloud: Path) -> str:
    done = lab.backstay("spare", "status", "-o", "json", "--cloud", str(cloud), ok=False)
    found = json.loads(done.stdout)[0]["state"]
    assert (done.returncode == 0) == (found == "prepared")
    return str(found)


def prepare(lab: Lab, cloud: Path, *, ok: bool = True) -> "subprocess.CompletedProcess[str]":
    named = ("spare", "prepare", "spare1", "--for", "proxy", "--cloud", str(cloud))
    return lab.backstay(*named, bound=600, ok=ok)


def told(lab: Lab, host: str, command: str) -> str:
    return lab.shell(host, f"{command} || true").strip()


def test_a_prepared_spare_has_the_packages_and_runs_none_of_them(lab: Lab, cloud: Path) -> None:
    assert state(lab, cloud) == "bare"
    prepare(lab, cloud)
    version = "dpkg-query -W -f '${Version}' swift-proxy"
    assert told(lab, "spare1", version) == told(lab, "proxy", version) != ""
    assert told(lab, "spare1", f"systemctl is-active {UNIT} memcached").split() == ["inactive"] * 2
    assert told(lab, "spare1", f"systemctl is-enabled {UNIT} memcached").split() == ["disabled"] * 2
    assert told(lab, "spare1", "ls /usr/sbin/policy-rc.d 2>/dev/null") == ""
    # Modules are compiled though that was put off, and nobody waits for it.
    compiled = "ls /usr/lib/python3/dist-packages/swift/proxy/__pycache__/server.cpython-3*.pyc"
    lab.wait_until(
        lambda: "server.cpython" in told(lab, "spare1", compiled), what="modules are compiled"
    )
    assert state(lab, cloud) == "prepared"

    lab.backstay("lab", "break", "power-off", "spare1")
    lab.backstay("lab", "heal", "power-off", "spare1")
    assert told(lab, "spare1", f"systemctl is-active {UNIT} memcached").split() == ["inactive"] * 2

    started = time.monotonic()
    prepare(lab, cloud)
    assert time.monotonic() - started < 20
    assert state(lab, cloud) == "prepared"


def test_killed_while_packages_are_installed_it_goes_on_with_the_same_installation(
    lab: Lab, cloud: Path
) -> None:
    process = subprocess.Popen(
        [BACKSTAY, "spare", "prepare", "spare1", "--for", "proxy", "--cloud", cloud],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lab.wait_until(
        lambda: "Unpacking" in told(lab, "spare1", "cat /var/lib/backstay/runs/*/log"),
        what="packages are being installed",
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = last_run(lab)
    assert run["state"] == "running"
    assert told(lab, "spare1", "pgrep -c apt-get") != "0"
    lab.backstay("runs", "resume", run["id"], "--cloud", str(cloud), bound=600)
    assert result(last_run(lab), "spare1.packages")["missing"] == []
    assert told(lab, "spare1", "ls /var/lib/backstay/runs | wc -l") == "1"
    assert told(lab, "spare1", "grep -c 'install swift-proxy:all' /var/log/dpkg.log") == "1"
    assert state(lab, cloud) == "prepared"


def test_a_spare_that_is_no_spare_is_refused_and_left_as_it_is(lab: Lab, cloud: Path) -> None:
    lab.shell("spare1", "systemd-run --quiet --unit=swift-proxy sleep 600")
    lab.shell("spare1", "sed -i s/bookworm/trixie/ /etc/os-release")
    refused = prepare(lab, cloud, ok=False)
    assert refused.returncode == 4
    told_all = refused.stdout + refused.stderr
    assert "swift-proxy.service run on it" in told_all
    assert "it runs debian trixie, the host ran debian bookworm" in told_all
    assert told(lab, "spare1", "dpkg-query -W swift-proxy 2>/dev/null") == ""
