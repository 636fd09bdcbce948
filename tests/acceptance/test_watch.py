"""The watch: told by mail and webhook within seconds, of the right cause, once."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import reboot
from tests.acceptance.watches import Watch, watching

pytestmark = pytest.mark.lab

SOON, DEAF = 5.0, 15.0
LOAD_SECONDS = float(os.environ.get("BACKSTAY_LOAD_SECONDS", "120"))
"""How long the cloud is loaded; the full story is 1800 s."""


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with watching(lab, tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("fault", "kind", "service"),
    [
        (("hang-service", "controller/nova-api"), "service-hung", "nova"),
        (("hang-service", "controller/mariadb"), "service-hung", "mariadb"),
        (("kill-service", "controller/mariadb"), "service-failed", "mariadb"),
        (("kill-service", "controller/rabbitmq-server"), "service-failed", "rabbitmq"),
        (("stop-service", "proxy/swift-proxy"), "service-failed", "swift"),
        (("power-off", "controller"), "host-off", "host"),
    ],
    ids=["hung-api", "hung-database", "dead-database", "dead-broker", "stopped-proxy", "power-off"],
)
def test_a_fault_is_told_at_once_with_its_cause(
    lab: Lab, watch: Watch, fault: tuple[str, ...], kind: str, service: str
) -> None:
    begun = broken(lab, *fault)
    took, post = watch.first_told(begun)
    print(f"{' '.join(fault)}: told after {took:.1f} s: {post['title']}")
    assert post["kind"] == kind
    assert (post["host"], post["service"]) == (fault[1].partition("/")[0], service)
    assert took <= SOON
    # As many minutes are not waited as it would take to be sure; ten seconds show most of them.
    lab.wait_until(lambda: time.time() > begun + 15, what="the rest has shown itself")
    assert len(watch.told.opened(begun)) == 1, "one incident, not many"
    lab.backstay("lab", "heal")
    lab.wait_green()
    watch.wait_over()
    lab.wait_until(lambda: bool(watch.told.closed()), what="told that it is over", bound=20)
    assert len(watch.told.opened(begun)) == 1
    assert len(set(watch.told.keys)) == len(watch.told.keys), "nothing is sent twice"


def broken(lab: Lab, *fault: str) -> float:
    """Make a fault; return when it was there: not before the command was given."""
    begun = time.time()
    lab.backstay("lab", "break", *fault)
    print(f"the fault took {time.time() - begun:.1f} s to be made")
    return begun


def test_an_agent_that_takes_no_work(lab: Lab, watch: Watch) -> None:
    begun = time.time()
    lab.backstay("lab", "break", "wedge-agent", "compute1")
    took, post = watch.first_told(begun, bound=120)
    print(f"told after {took:.1f} s: {post['title']}")
    assert post["kind"] == "agent-deaf"
    assert post["host"] == "compute1"
    assert "reattach" in post["remedy"]
    assert took <= DEAF


def test_only_the_operator_is_cut_off(lab: Lab, watch: Watch) -> None:
    begun = broken(lab, "cut-network", "controller", "--from", "operator")
    _, post = watch.first_told(begun)
    assert post["kind"] == "cut-off-here"
    assert "replace" not in post["remedy"]
    lab.wait_until(lambda: time.time() > begun + 20, what="nothing else is told")
    assert {one["kind"] for _, one in watch.told.opened(begun)} == {"cut-off-here"}


def test_a_planned_reboot_is_silent(lab: Lab, watch: Watch) -> None:
    reboot(lab, "controller", cloud=watch.cloud)
    lab.wait_green()
    assert watch.told.posts == []
    assert watch.incidents() == []


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Every core is at work."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@pytest.mark.slow
def test_a_busy_cloud_with_lost_packets_is_silent(lab: Lab, watch: Watch) -> None:
    lab.backstay("lab", "break", "loss", "controller", "2")
    begun = time.time()
    with busy(2 * (os.cpu_count() or 2)):
        while time.time() < begun + LOAD_SECONDS:
            time.sleep(5)
            assert watch.told.posts == [], watch.told.posts
    assert watch.incidents() == []


def test_killed_it_comes_back_and_tells_nothing_twice(lab: Lab, watch: Watch) -> None:
    begun = broken(lab, "stop-service", "proxy/swift-proxy")
    watch.first_told(begun)
    for _ in range(3):
        watch.kill()
        watch.start()
        lab.wait_until(lambda: watch.status().get("running", False), what="it watches again")
    assert len(watch.open()) == 1
    watch.kill()
    lab.backstay("lab", "heal")
    lab.wait_green()
    watch.start()
    watch.wait_over()
    lab.wait_until(lambda: bool(watch.told.closed()), what="told that it is over", bound=20)
    assert len(watch.told.opened()) == len(watch.told.closed()) == 1
    assert len(set(watch.told.keys)) == len(watch.told.keys)


def test_killed_before_it_could_tell_it_tells_afterwards(lab: Lab, watch: Watch) -> None:
    watch.process.send_signal(signal.SIGSTOP)
    begun = broken(lab, "stop-service", "proxy/swift-proxy")
    watch.kill()
    watch.start()
    watch.first_told(begun)
    assert len(watch.told.opened()) == 1


def test_the_page_is_there_with_the_cloud_down(lab: Lab, watch: Watch) -> None:
    begun = broken(lab, "power-off", "controller")
    watch.first_told(begun)
    page = urllib.request.urlopen("http://127.0.0.1:8491/", timeout=5).read().decode()
    assert "controller" in page
    told = json.load(urllib.request.urlopen("http://127.0.0.1:8491/api/v1/incidents", timeout=5))
    assert "host-off" in json.dumps(told)
    metrics = urllib.request.urlopen("http://127.0.0.1:8491/metrics", timeout=5).read().decode()
    assert 'backstay_incidents_open{kind="host-off"' in metrics
