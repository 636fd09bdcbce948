"""Agents are judged as their API judges them: recorded answers of APIs, read ten minutes later."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import ApiFailed
from backstay.finding import Finding, Severity
from backstay.health.judge_agents import Member, RpcTopology, judge_agents
from backstay.health.read_apis import Reported
from backstay.inventory.enums import Role
from backstay.inventory.limits import Limits
from backstay.services import neutron, nova
from backstay.services.declaration import Agent, Service
from backstay.services.registry import named
from backstay.services.reporting import ReportTimes
from backstay.transports.targets import SshTarget

DATA = Path(__file__).parents[1] / "services" / "data"
NOW = datetime(2026, 11, 30, 9, 0, 5, tzinfo=UTC).timestamp()
HOSTS = ("ctl1", "cmp1", "cmp2", "cmp3", "cmp4")


def recorded(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def member(name: str, hostname: str = "", times: ReportTimes | None = None, **more: Any) -> Member:
    target = SshTarget(name=name, address=f"10.0.0.{HOSTS.index(name) + 1}", user="root")
    return Member(target=target, hostname=hostname, times=times, **{"units": (), **more})


def judge(agents: Any, members: list[Member], service: str = "nova") -> dict[str, Finding]:
    found = judge_agents(
        Reported(service=service, agents=tuple(agents), at=NOW),
        members,
        RpcTopology(),
        offset=0.0,
        limits=Limits(),
    )
    return {f"{one.host} {one.subject}": one for one in found}


COMPUTE = "agent nova-compute"
SERVICES = recorded("nova-os-services-2.11")


def unasked() -> list[Member]:
    return [member(name) for name in HOSTS]


def with_times(**times: Any) -> list[Member]:
    read = ReportTimes(complete=True, **times)
    return [member(name, f"{name}.example.org", read, serves_api=name == "ctl1") for name in HOSTS]


def test_only_where_the_api_runs_its_settings_say_who_is_down() -> None:
    members = [
        member("ctl1", "ctl1", ReportTimes(down_after=500.0, complete=True), serves_api=True),
        member("cmp4", "cmp4", ReportTimes(intervals={"nova-compute": 120.0}, down_after=60.0)),
    ]
    found = judge(nova.read_agents(SERVICES), members)[f"cmp4 {COMPUTE}"]
    assert (found.severity, found.evidence) == (Severity.OK, "last report 3 min ago")
    unread = judge(nova.read_agents(SERVICES), members[1:])[f"cmp4 {COMPUTE}"]
    assert unread.severity is Severity.OK


def test_an_agent_that_its_api_calls_up_is_no_failure_by_openstacks_defaults() -> None:
    found = judge(nova.read_agents(SERVICES), unasked())[f"cmp4 {COMPUTE}"]
    assert (found.severity, found.evidence) == (Severity.OK, "last report 3 min ago")


@pytest.mark.parametrize(
    ("interval", "down_after", "severity", "evidence"),
    [
        (120.0, 500.0, Severity.OK, "last report 3 min ago"),
        (30.0, 500.0, Severity.WARNING, "late: last report 3 min ago, one is due every 30 s"),
        (10.0, 60.0, Severity.WARNING, "its API still calls it up"),
    ],
)
def test_the_clouds_own_settings_say_who_is_late(
    interval: float, down_after: float, severity: Severity, evidence: str
) -> None:
    members = with_times(intervals={"nova-compute": interval}, down_after=down_after)
    found = judge(nova.read_agents(SERVICES), members)[f"cmp4 {COMPUTE}"]
    assert found.severity is severity
    assert evidence in found.evidence
    assert "restart" not in found.remedy
    assert "reattach" not in found.remedy


@pytest.mark.parametrize(
    ("host", "evidence", "command"),
    [
        ("cmp1", "disabled: AUTO: Connection to libvirt lost: 1; last report 5 s ago", "--enable"),
        ("cmp2", "forced down, without a reason given; last report 5 s ago", "2.11 --up"),
        ("cmp3", "forced down and disabled: mainboard is away for repair; last", "--up --enable"),
    ],
)
def test_who_was_taken_out_of_service_is_a_warning_with_its_reason(
    host: str, evidence: str, command: str
) -> None:
    found = judge(nova.read_agents(SERVICES), unasked())[f"{host} {COMPUTE}"]
    assert found.severity is Severity.WARNING
    assert evidence in found.evidence
    assert f"{command} {host}.example.org nova-compute" in found.remedy
    assert "restart" not in found.remedy


def test_agents_of_ovn_are_judged_by_their_api_alone() -> None:
    """Their times are those of the last list call: fourteen hours ago after a quiet night."""
    agents = neutron.read_agents(recorded("neutron-agents-ovn"))
    found = judge(agents, unasked(), "neutron")
    for subject in ("ctl1 agent ovn-controller", "cmp1 agent neutron-ovn-metadata-agent"):
        assert (found[subject].severity, found[subject].evidence) == (
            Severity.OK,
            "its API calls it up",
        )
    down = found["cmp2 agent neutron-ovn-agent"]
    assert (down.severity, down.evidence) == (Severity.FAILED, "down: its API calls it down")
    away = found["ctl1 agent neutron-l3-agent"]
    assert away.severity is Severity.WARNING
    assert "disabled: moved to ctl2" in away.evidence
    assert "network agent set --enable 2c7e1c1d-" in away.remedy


NOVA = named("nova")
UNITS = tuple(unit for unit in NOVA.units if unit.agent == "nova-compute")
READ = ReportTimes(complete=True)


def up(host: str, binary: str = "nova-compute") -> Agent:
    heartbeat = datetime.fromtimestamp(NOW - 5, UTC)
    return Agent(
        binary=binary,
        host=host,
        up=True,
        enabled=True,
        heartbeat=heartbeat,
        interval=10.0,
        down_after=60.0,
    )


@pytest.mark.parametrize(
    "reported", ["cmp1", "cmp1.example.org", "CMP1", "Cmp1.Example.ORG", "10.0.0.2"]
)
def test_a_host_that_was_not_asked_is_known_by_any_spelling_of_its_name(reported: str) -> None:
    found = judge([up(reported)], [member("cmp1", units=UNITS)])
    assert [one.severity for one in found.values()] == [Severity.OK]


def test_a_host_that_was_not_asked_may_report_under_another_name() -> None:
    found = judge([up("srv-17.dc1")], [member("cmp1", units=UNITS)])
    missed = found[f"cmp1 {COMPUTE}"]
    assert missed.severity is Severity.UNKNOWN
    assert "never reported" not in missed.evidence
    assert "srv-17.dc1 may be it" in missed.evidence
    assert found[f"None {COMPUTE} on srv-17.dc1"].severity is Severity.OK


@pytest.mark.parametrize("own", ["srv-17", "SRV-17.dc1", "srv-17.other"])
def test_a_host_that_was_asked_says_under_which_name_it_reports(own: str) -> None:
    asked = member("cmp1", "localhost.localdomain", ReportTimes(names=(own,)), units=UNITS)
    found = judge([up("srv-17.dc1" if own != "srv-17.other" else own)], [asked])
    assert {one.severity for one in found.values()} == {Severity.OK}


def test_where_all_names_are_known_an_agent_that_never_reported_is_a_failure() -> None:
    asked = member("cmp1", "cmp1.example.org", READ, units=UNITS)
    missed = judge([up("srv-17.dc1")], [asked])[f"cmp1 {COMPUTE}"]
    assert missed.severity is Severity.FAILED
    assert "has never reported" in missed.evidence
    unread = member("cmp1", "cmp1.example.org", units=UNITS)
    assert judge([], [unread])[f"cmp1 {COMPUTE}"].severity is Severity.FAILED
    unread_missed = judge([up("srv-17.dc1")], [unread])[f"cmp1 {COMPUTE}"]
    assert unread_missed.severity is Severity.UNKNOWN


def test_hosts_that_share_a_name_on_purpose_are_not_missed() -> None:
    """Controllers of a Ceph cluster report volumes under one name."""
    cinder = named("cinder")
    units = tuple(unit for unit in cinder.units if unit.agent == "cinder-volume")
    times = ReportTimes(names=("rbd:volumes",), complete=True)
    members = [member(name, name, times, units=units) for name in ("cmp1", "cmp2")]
    found = judge([up("rbd:volumes", "cinder-volume")], members, "cinder")
    assert [one.severity for one in found.values()] == [Severity.OK]


NEUTRON: Service = named("neutron")
KINDS = tuple(u for u in (*NEUTRON.units, *NEUTRON.other_units) if u.one_of)


def networked(name: str, *found: str) -> Member:
    every = (*NEUTRON.units, *NEUTRON.other_units)
    units = [u for u in every if u.name in found and u.role is Role.COMPUTE]
    return member(name, name, READ, units=tuple(units), one_of=KINDS)


@pytest.mark.parametrize("binary", ["ovn-controller", "neutron-openvswitch-agent"])
def test_no_back_end_of_the_network_is_assumed(binary: str) -> None:
    members = [networked("cmp1", binary), networked("cmp2", binary)]
    found = judge([up("cmp1", binary), up("cmp2", binary)], members, "neutron")
    assert {one.severity for one in found.values()} == {Severity.OK}


def test_a_compute_host_without_any_agent_of_its_network_is_named() -> None:
    members = [networked("cmp1", "ovn-controller"), networked("cmp2")]
    found = judge([up("cmp1", "ovn-controller")], members, "neutron")
    lacks = found["cmp2 agent for the network of instances"]
    assert lacks.severity is Severity.WARNING
    assert "ovn-controller" in lacks.evidence


def test_a_network_without_agents_is_one_of_its_own_kind() -> None:
    assert judge([], [networked("cmp1"), networked("cmp2")], "neutron") == {}
    unasked_host = member("cmp2", one_of=KINDS)
    found = judge([up("cmp1", "ovn-controller")], [networked("cmp1"), unasked_host], "neutron")
    assert [one.severity for one in found.values()] == [Severity.OK]


class OldApi:
    """Refuses microversions, or knows them."""

    def __init__(self, status: int | None) -> None:
        self.status = status
        self.asked: list[Any] = []

    def get(self, _type: str, _path: str, headers: Any = None) -> Any:
        self.asked.append(headers)
        if headers and self.status:
            raise ApiFailed("GET", came_back="no", remedy="none", status=self.status)
        return SERVICES


def test_forced_down_is_asked_for_by_the_microversion_that_has_it() -> None:
    api = OldApi(None)
    assert [one.forced_down for one in nova.agents(api)] == [False, False, True, True, False]  # type: ignore[arg-type]
    assert api.asked == [{"OpenStack-API-Version": "compute 2.11"}]
    old = OldApi(406)
    assert len(nova.agents(old)) == 5  # type: ignore[arg-type]
    assert old.asked[1] is None
    with pytest.raises(ApiFailed):
        nova.agents(OldApi(500))  # type: ignore[arg-type]
