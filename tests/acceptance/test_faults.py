"""Every fault of `lab break` is the real thing, and is undone where it has an undo."""

import json

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.test_lab import pings

pytestmark = pytest.mark.lab


def test_freeze_and_thaw(lab: Lab) -> None:
    lab.backstay("lab", "break", "freeze", "compute2")
    checked = lab.check("compute2")
    assert checked.exit_status in (2, 3)
    assert all(finding["host"] == "compute2" for finding in checked.bad()), checked.bad()
    lab.backstay("lab", "heal")
    lab.wait_green()


@pytest.mark.slow
def test_power_off_a_compute_host_and_its_instance_comes_back(lab: Lab) -> None:
    server = next(s for s in lab.seed["instances"] if s["host"] == "compute2")
    lab.backstay("lab", "break", "power-off", "compute2")
    assert not pings(server["address"])
    assert any(finding["host"] == "compute2" for finding in lab.check().bad())
    lab.backstay("lab", "heal")
    lab.wait_until(lambda: pings(server["address"]), what="the instance answers again")
    lab.wait_green()


def test_cut_off_from_the_operator_only(lab: Lab) -> None:
    lab.backstay("lab", "break", "cut-network", "proxy", "--from", "operator")
    address = lab.hosts["proxy"]["address"]
    assert not pings(address)
    assert "1 received" in lab.shell("storage1", f"ping -c 1 -W 2 {address}")
    lab.backstay("lab", "heal")
    lab.wait_green()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deaf", "half-open"])
def test_wedged_agent_is_up_for_everybody_and_takes_no_work(lab: Lab, how: str) -> None:
    lab.backstay("lab", "break", "wedge-agent", "compute1", "--how", how)
    assert lab.shell("compute1", "systemctl is-active nova-compute").strip() == "active"
    sockets = lab.shell("compute1", "ss -Htn state established dport = :5672")
    assert sockets.strip()
    lab.backstay("lab", "heal")
    lab.wait_green()


@pytest.mark.slow
def test_broker_with_amnesia(lab: Lab) -> None:
    lab.backstay("lab", "break", "rabbit-amnesia", "controller")
    users = json.loads(lab.shell("controller", "rabbitmqctl list_users --formatter json"))
    assert "openstack" not in {user["user"] for user in users}
    lab.backstay("lab", "heal")
    lab.wait_green()


def test_an_unknown_fault_or_unit_names_the_candidates(lab: Lab) -> None:
    done = lab.backstay("lab", "break", "kill-service", "controller/nova-schedular", ok=False)
    assert done.returncode != 0
    assert "nova-scheduler" in done.stderr
