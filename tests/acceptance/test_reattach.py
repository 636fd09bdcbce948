"""Agents that look alive and do not process RPC messages: found, and only the faulty restarted."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.background_load import nobody_misses_a_ping
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import last_run, reboot
from tests.acceptance.test_clients import in_sh

pytestmark = pytest.mark.lab

ON_COMPUTE = ("nova-compute", "neutron-linuxbridge-agent", "neutron-dhcp-agent")
ON_CONTROLLER = ("nova-conductor", "nova-scheduler", "cinder-volume", "cinder-scheduler")
UNITS = {"controller": ON_CONTROLLER, "compute1": ON_COMPUTE, "compute2": ON_COMPUTE}
OUTAGE = 240.0  # seconds that a controller is away "for long": several heartbeats of everybody


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")


def starts(lab: Lab) -> dict[tuple[str, str], str]:
    """When each agent's unit was started, by its host's clock; empty where it does not run."""
    found: dict[tuple[str, str], str] = {}
    for host, units in UNITS.items():
        show = "systemctl show --property=ActiveEnterTimestampMonotonic --value"
        shown = lab.shell(host, f"{show} {' '.join(units)}").split()
        found |= {(host, unit): stamp for unit, stamp in zip(units, shown, strict=True)}
    return found


def changed(
    before: dict[tuple[str, str], str], after: dict[tuple[str, str], str], but: str = ""
) -> set[str]:
    """The names of the agents that were started anew, those on one host left out."""
    return {
        f"{unit} on {host}"
        for host, unit in before
        if host != but and before[host, unit] != after[host, unit]
    }


def restarted_in(run: dict[str, Any]) -> set[str]:
    """Whom a run of `reattach -o json` restarted; without a plan it says only what it saw."""
    return set(run["steps"][-1]["result"]["restarted"]) if "steps" in run else set()


def looked(lab: Lab) -> dict[tuple[str, str], dict[str, Any]]:
    """What `reattach --dry-run` says of each agent."""
    done = lab.backstay("reattach", "--dry-run", "-o", "json", ok=False)
    assert done.stdout, done.stderr
    agents = json.loads(done.stdout)["agents"]
    return {(agent["host"], agent["binary"]): agent for agent in agents}


def not_attached(lab: Lab) -> dict[tuple[str, str], str]:
    """The signatures of those that are not attached."""
    return {
        name: agent["signature"]
        for name, agent in looked(lab).items()
        if agent["signature"] != "attached"
    }


@pytest.fixture
def settled(lab: Lab) -> Lab:
    """A lab in which no agent and no broker was started in the last minute and a half."""
    ages = "cut -d' ' -f1 /proc/uptime; systemctl show --property=ActiveEnterTimestampMonotonic "
    units = {**UNITS, "controller": (*ON_CONTROLLER, "rabbitmq-server")}

    def old() -> bool:
        for host, names in units.items():
            now, *stamps = lab.shell(host, f"{ages} --value {' '.join(names)}").split()
            if any(float(now) - int(stamp) / 1e6 < 95 for stamp in stamps):
                return False
        return True

    lab.wait_until(old, what="agents and broker have been up for a while")
    lab.wait_until(lambda: not not_attached(lab), what="every agent is attached")
    return lab


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "host", "signature"),
    [
        (("wedge-agent", "compute1", "--how", "no-reply-queue"), "compute1", "deaf"),
        (("wedge-agent", "compute1", "--how", "deaf"), "compute1", "deaf"),
        (("wedge-agent", "compute2", "--how", "half-open"), "compute2", "half-open"),
        (("hang-service", "compute1/nova-compute"), "compute1", "frozen"),
        (("stop-service", "compute2/nova-compute"), "compute2", "down"),
    ],
    ids=["no-reply-queue", "deaf", "half-open", "frozen", "down"],
)
def test_only_the_faulty_agent_is_restarted(
    settled: Lab, fault: tuple[str, ...], host: str, signature: str
) -> None:
    lab, faulty = settled, (host, "nova-compute")
    before = starts(lab)
    with nobody_misses_a_ping(lab):
        lab.backstay("lab", "break", *fault)
        assert not_attached(lab) == {faulty: signature}
        run = json.loads(lab.backstay("reattach", "--yes", "-o", "json", bound=600).stdout)
        assert run["state"] == "done"
        assert run["steps"][-1]["result"]["restarted"] == [f"nova-compute on {host}"]
        after = starts(lab)
        assert changed(before, after) == {f"nova-compute on {host}"}
        lab.backstay("lab", "heal")
        assert starts(lab) == after
    well_on(lab, host)


@contextmanager
def only_on(lab: Lab, host: str) -> Iterator[None]:
    """Let the scheduler have that compute host alone."""
    others = [name for name in UNITS if name.startswith("compute") and name != host]
    for name in others:
        in_sh(lab, f"openstack compute service set --disable {name} nova-compute")
    try:
        yield
    finally:
        for name in others:
            in_sh(lab, f"openstack compute service set --enable {name} nova-compute")


@pytest.mark.slow
@pytest.mark.parametrize("point", [1, 3, 5, 7])
def test_killed_half_way_it_goes_on_where_it_was(lab: Lab, point: int) -> None:
    lab.backstay("lab", "break", "stop-service", "compute1/nova-compute")
    command = [sys.executable, "-m", "tests.acceptance.killed_reboot", str(point), "reattach"]
    killed = subprocess.run([*command, "--yes"], capture_output=True, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    left = json.loads(lab.backstay("runs", "list", "-o", "json").stdout)[0]["id"]
    lab.backstay("runs", "resume", left, bound=600)
    run = last_run(lab)
    assert run["state"] == "done"
    assert run["steps"][-1]["result"]["restarted"] == ["nova-compute on compute1"]
    started = [event for event in run["events"] if event["kind"] == "done"]
    assert len({event["step"] for event in started}) == len(started), "no step was done twice"
    lab.backstay("lab", "heal")
    assert not not_attached(lab)


def test_a_masked_unit_is_somebodys_decision(lab: Lab) -> None:
    lab.backstay("lab", "break", "kill-service", "compute2/nova-compute")
    done = lab.backstay("reattach", "compute2", "--yes", ok=False)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "masked" in done.stdout
    assert "systemctl unmask" in done.stdout
    lab.backstay("lab", "heal")
    lab.wait_green()


@pytest.mark.slow
def test_a_broker_with_amnesia_is_told_and_no_agent_restarted(settled: Lab) -> None:
    lab, before = settled, starts(settled)
    with nobody_misses_a_ping(lab):
        lab.backstay("lab", "break", "rabbit-amnesia")
        assert set(not_attached(lab).values()) == {"refused"}
        done = lab.backstay("reattach", "--yes", ok=False)
        assert done.returncode == 4, done.stdout
        assert "rabbitmqctl add_user" in done.stdout
        lab.backstay("lab", "heal")
        run = json.loads(lab.backstay("reattach", "--yes", "-o", "json", bound=600).stdout)
    assert changed(before, starts(lab)) == restarted_in(run)
    assert not not_attached(lab)
    lab.wait_green()
    assert lab.check("--deep").bad() == []


@pytest.mark.slow
def test_a_controller_that_reboots_leaves_settling_agents_alone(settled: Lab) -> None:
    lab, before = settled, starts(settled)
    run = json.loads(reboot(lab, "controller", "-o", "json").stdout)
    [report] = run["reports"]
    assert report["agents"] == 10
    assert report["attached"] > 0
    restarted = {name for name in report["restarted"] if not name.endswith("on controller")}
    assert changed(before, starts(lab), but="controller") == restarted
    assert lab.check("--deep").bad() == []


@pytest.mark.slow
def test_a_controller_that_was_away_for_long(settled: Lab) -> None:
    lab, before = settled, starts(settled)
    with nobody_misses_a_ping(lab):
        lab.backstay("lab", "break", "power-off", "controller")
        time.sleep(OUTAGE)  # what is awaited is the outage itself
        lab.backstay("lab", "heal")
        lab.wait_until(
            lambda: lab.backstay("reattach", "--dry-run", ok=False).returncode != 3,
            what="the APIs tell their agents",
        )
        done = lab.backstay("reattach", "--yes", "-o", "json", bound=900)
        run = json.loads(done.stdout)
    restarted = {name for name in restarted_in(run) if not name.endswith("on controller")}
    assert changed(before, starts(lab), but="controller") == restarted
    lab.wait_green()
    assert lab.check("--deep").bad() == []


@pytest.mark.slow
def test_a_controller_replaced_under_its_address_leaves_an_idle_agent_half_open(
    settled: Lab,
) -> None:
    lab, faulty = settled, ("compute2", "nova-compute")
    lab.backstay("lab", "break", "old-client", "compute2")
    lab.wait_until(lambda: not not_attached(lab), what="the old client is attached")
    before = starts(lab)
    with nobody_misses_a_ping(lab):
        lab.backstay("lab", "break", "dead-board", "controller")
        lab.backstay("lab", "new-board", "controller", bound=600)
        lab.wait_until(
            lambda: lab.backstay("reattach", "--dry-run", ok=False).returncode != 3,
            what="the APIs tell their agents",
        )
        lab.wait_until(
            lambda: not_attached(lab) == {faulty: "half-open"},
            what="the others have come back",
            bound=300,
        )
        run = json.loads(lab.backstay("reattach", "--yes", "-o", "json", bound=600).stdout)
        assert restarted_in(run) == {"nova-compute on compute2"}
    assert changed(before, starts(lab), but="controller") == {"nova-compute on compute2"}
    lab.backstay("lab", "heal")
    well_on(lab, "compute2")


def well_on(lab: Lab, host: str) -> None:
    """All is green, and an instance boots on that very host."""
    lab.wait_green()
    with only_on(lab, host):
        booted = [f for f in lab.check("--deep").findings if f["evidence"].startswith("booted")]
    assert [(f["severity"], f" on {host}, " in f["evidence"]) for f in booted] == [("ok", True)]
