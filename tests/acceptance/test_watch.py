"""The watch: people are told within seconds, of the right cause, once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from backstay.inventory.maintenance import Maintenance
from backstay_lab import state
from backstay_lab.faults import records
from backstay_lab.faults.lifecycle import FAULTS
from backstay_lab.hosts import LabHost
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import reboot
from tests.acceptance.watches import Watch, own_journal, watching

pytestmark = pytest.mark.lab

SOON, DEAF = 5.0, 15.0
BROKER_UP = "rabbitmqctl --quiet eval 'element(1, erlang:statistics(wall_clock)) div 1000.'"
AFTERMATH = 20.0
"""Seconds in which what could be taken for another cause has shown itself."""
LOADED = float(os.environ.get("BACKSTAY_LOADED_MINUTES", "3")) * 60
STOP_PROXY = ("stop-service", "proxy/swift-proxy")


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    own_journal(monkeypatch, tmp_path, tmp_path)
    with watching(lab, tmp_path) as running:
        yield running


def broken(fault: str, target: str, options: Mapping[str, str] | None = None) -> float:
    """Make a fault in this process, as the command does; return the time just before."""
    lab = state.opened(os.environ.get("BACKSTAY_LAB", "lab")).lab
    record = FAULTS[fault].prepare(lab, target, options or {})
    records.add(lab, record)
    started = time.time()
    FAULTS[fault].make(LabHost(lab, record.host), record)
    return started


def ended_at(lab: Lab, target: str) -> float:
    """When the process of a unit ended, by systemd."""
    host, _, unit = target.partition("/")
    show = "systemctl show --timestamp=us+utc --value -p ExecMainExitTimestamp"
    day, at = lab.shell(host, f"{show} {unit}").split()[1:3]
    return datetime.fromisoformat(f"{day}T{at}+00:00").timestamp()


def healed(lab: Lab, watch: Watch) -> None:
    """Undo the faults; there was one incident, and it is over."""
    lab.backstay("lab", "heal")
    lab.wait_green()
    watch.until_over()
    assert len(watch.incidents()) == len(watch.told.of("opened")) == 1
    assert watch.told.once()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "target", "kind", "service"),
    [
        ("hang-service", "controller/nova-api", "service-hung", "nova"),
        ("hang-service", "controller/mariadb", "service-hung", "mariadb"),
        ("kill-service", "controller/mariadb", "service-failed", "mariadb"),
        ("kill-service", "controller/rabbitmq-server", "service-failed", "rabbitmq"),
        ("stop-service", "proxy/swift-proxy", "service-failed", "swift"),
        ("power-off", "controller", "host-off", "host"),
    ],
    ids=["hung-api", "hung-database", "dead-database", "dead-broker", "stopped-proxy", "power-off"],
)
def test_a_fault_is_told_at_once_with_its_cause(  # a table with four columns
    lab: Lab, watch: Watch, *, fault: str, target: str, kind: str, service: str
) -> None:
    started = broken(fault, target)
    took, notified = watch.until_notified(started)
    if fault == "kill-service":  # before it dies it is masked, which takes systemd its time
        took -= max(0.0, ended_at(lab, target) - started)
    print(f"NOTIFIED of {fault} {target} after {took:.1f} s: {notified['title']}")
    assert (notified["kind"], notified["host"]) == (kind, target.partition("/")[0])
    assert notified["service"] == service
    assert took <= SOON
    time.sleep(AFTERMATH)  # that nothing comes cannot be awaited
    healed(lab, watch)


@pytest.mark.slow
def test_a_keystone_that_hangs_before_the_watch_begins(lab: Lab, watch: Watch) -> None:
    watch.stop()
    broken("hang-service", "controller/keystone")
    started = time.time()
    watch.start()
    took, notified = watch.until_notified(started)
    print(f"NOTIFIED {took:.1f} s after the watch was started: {notified['title']}")
    assert (notified["kind"], notified["host"]) == ("service-hung", "controller")
    assert notified["service"] == "keystone"
    healed(lab, watch)


@pytest.mark.slow
def test_an_agent_that_takes_no_work(lab: Lab, watch: Watch) -> None:
    lab.wait_until(  # the time that agents are left to connect again; an earlier story began it
        lambda: int(lab.shell("controller", BROKER_UP)) > Maintenance().reconnect,
        what="the broker has been up for long enough that agents are judged",
        bound=180,
    )
    started = broken("wedge-agent", "compute1", {"how": "deaf"})
    took, notified = watch.until_notified(started)
    print(f"NOTIFIED of a deaf agent after {took:.1f} s: {notified['title']}")
    assert (notified["kind"], notified["host"]) == ("agent-not-processing", "compute1")
    assert "backstay reattach" in notified["remedy"]
    assert took <= DEAF
    healed(lab, watch)


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param(["controller"], id="controller"),
        pytest.param(None, id="all-hosts", marks=pytest.mark.slow),
    ],
)
def test_only_the_operator_is_cut_off(lab: Lab, watch: Watch, hosts: list[str] | None) -> None:
    started = [broken("cut-network", host, {"from": "operator"}) for host in hosts or lab.hosts]
    _, notified = watch.until_notified(started[0])
    assert notified["kind"] == "monitoring-host-isolated"
    assert "Monitoring host isolated" in notified["title"]
    assert "backstay" not in notified["remedy"], "nothing is to be done to the cloud"
    time.sleep(AFTERMATH)
    healed(lab, watch)


def test_a_restart_by_hand_is_silent(lab: Lab, watch: Watch) -> None:
    for unit in ("nova-api", "keystone", "mariadb"):
        lab.shell("controller", f"systemctl restart {unit}")
        time.sleep(AFTERMATH)
    assert watch.told.posts == []
    watch.until_all_up()


@pytest.mark.slow
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
    end = time.time() + LOADED
    with busy(os.cpu_count() or 2):
        while time.time() < end:
            time.sleep(5)
            assert watch.told.posts == [], watch.told.posts
    assert watch.incidents() == []


def test_killed_it_comes_back_and_tells_nothing_twice(lab: Lab, watch: Watch) -> None:
    started = broken(*STOP_PROXY)
    watch.until_notified(started)
    for _ in range(3):
        watch.kill()
        watch.start()
        watch.until(watch.seen, "it watches again")
    assert len(watch.incidents()) == 1
    watch.kill()
    lab.backstay("lab", "heal")
    lab.wait_green()
    watch.start()
    healed(lab, watch)


@pytest.mark.slow
def test_killed_before_it_could_tell_it_tells_afterwards(lab: Lab, watch: Watch) -> None:
    watch.process.send_signal(signal.SIGSTOP)
    started = broken(*STOP_PROXY)
    watch.kill()
    watch.start()
    watch.until_notified(started)
    healed(lab, watch)


@pytest.mark.slow
def test_the_page_is_there_with_the_controller_off(lab: Lab, watch: Watch) -> None:
    watch.until_notified(broken("power-off", "controller"))
    assert "controller" in watch.page()
    assert '"host-off"' in watch.page("api/v1/incidents")
    assert "backstay_incidents_open{" in watch.page("metrics")
    healed(lab, watch)
