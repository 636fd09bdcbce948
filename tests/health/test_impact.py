"""What is lost and kept, from connections recorded on the lab."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.access.shipping import program, source_of
from backstay.health.impact.judge import Connection, Effect, ImpactInput, Kind, judge
from backstay.health.impact.onhost import about_host, connections
from backstay.inventory.enums import Role
from backstay.services.declaration import Agent, Unit, Workload
from backstay.services.registry import named

SS = (Path(__file__).parent / "data" / "ss-compute1.txt").read_text()
DHCP = Unit(
    name="neutron-dhcp-agent",
    role=Role.COMPUTE,
    purpose="",
    agent="neutron-dhcp-agent",
    serves="their addresses (DHCP)",
)
API = Unit(name="nova-api", role=Role.CONTROLLER, purpose="instances cannot be listed")


def agent(host: str) -> Agent:
    return Agent(
        binary="neutron-dhcp-agent",
        host=host,
        up=True,
        enabled=True,
        heartbeat=None,
        interval=30,
        down_after=75,
    )


def seen(host: str, address: str, **other: object) -> ImpactInput:
    found = [Connection.of(a, p, name, ("qemu", "kvm")) for a, p, name in connections(SS)]
    values: dict[str, object] = {
        "endpoints": (),
        "elsewhere": frozenset(),
        "units": (),
        "serving": (DHCP,),
        "workloads": (Workload(name="demo-1", host="compute1", addresses=("10.78.0.50",)),),
        "agents": (agent("compute1"),),
        "connections": {"compute1": found},
        "resumes": None,
        "autostart": "resume_guests_state_on_host_boot",
    }
    whole = {"host": host, "address": address, "hostname": host} | values | other
    return ImpactInput(**whole)  # type: ignore[arg-type]


def of(effects: list[Effect], kind: Kind) -> str:
    return " | ".join(f"{one.what}: {one.why}" for one in effects if one.kind is kind)


def test_connections_as_recorded() -> None:
    found = connections(SS)
    assert ("10.77.0.13", 3300, "qemu-system-x86") in found
    assert ("10.77.0.11", 5672, "nova-compute") in found


def test_the_controller_takes_apis_and_connections_and_leaves_instances() -> None:
    effects = judge(seen("controller", "10.77.0.11", endpoints=("compute",), units=(API,)))
    assert "the APIs compute" in of(effects, Kind.LOST)
    assert "nova-compute on compute1" in of(effects, Kind.LOST)
    assert "1 instance: demo-1: on compute1" in of(effects, Kind.KEPT)
    assert "keep their addresses (DHCP)" in of(effects, Kind.KEPT)
    assert "attached volumes" in of(effects, Kind.KEPT)
    assert not of(effects, Kind.UNKNOWN)


def test_a_storage_host_takes_the_disks_of_those_connected_to_it() -> None:
    lost = of(judge(seen("storage1", "10.77.0.13")), Kind.LOST)
    assert "disks of instances on compute1 stand still" in lost


def test_a_compute_host_takes_its_instances() -> None:
    effects = judge(seen("compute1", "10.77.0.21", resumes=True, connections={}))
    assert "they start again with it" in of(effects, Kind.LOST)
    assert "compute1 only" not in of(effects, Kind.KEPT)


def test_the_only_dhcp_agent() -> None:
    effects = judge(seen("network1", "10.77.0.9", agents=(agent("network1"),)))
    assert "instances lose their addresses (DHCP)" in of(effects, Kind.LOST)


def test_the_only_proxy_and_one_of_two() -> None:
    alone = judge(seen("proxy", "10.77.0.12", endpoints=("object-store",)))
    assert "no object can be read or written" in of(alone, Kind.LOST)
    two = judge(
        seen("proxy", "10.77.0.12", endpoints=("object-store",), elsewhere={"object-store"})
    )
    assert "the APIs object-store" in of(two, Kind.KEPT)


def test_what_did_not_answer_is_unknown() -> None:
    effects = judge(
        seen(
            "controller", "10.77.0.11", workloads=None, agents=None, connections={"compute1": None}
        )
    )
    unknown = of(effects, Kind.UNKNOWN)
    assert "which instances run where" in unknown
    assert "where the disks of compute1 come from" in unknown
    assert not of(effects, Kind.KEPT)


def test_the_question_takes_that_of_the_service_with_it() -> None:
    autostart = named("nova").autostart
    assert autostart is not None
    given = [source_of(autostart.ask), autostart.ask.__name__]
    done = subprocess.run(
        [sys.executable, "-I", "-"],
        input=program(about_host, given),
        capture_output=True,
        text=True,
        check=False,
    )
    if "not root" in done.stderr:
        pytest.skip("asked as root only")
    assert json.loads(done.stdout).keys() == {"connections", "resumes"}
