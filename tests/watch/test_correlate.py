"""One cause for all that it explains."""

from dataclasses import replace
from pathlib import Path

import pytest

from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import Topology
from backstay.watch.incidents.correlate import HOLD
from backstay.watch.incidents.incident import Kind, Urgency
from tests.watch.correlation_inputs import (
    NOW,
    correlation_input,
    corroboration,
    host,
    ready,
    small,
    target,
)

APIS = (
    "controller/keystone/token validation",
    "controller/nova/key pairs",
    "controller/glance/one image",
    "proxy/swift/object",
)


@pytest.fixture
def top(tmp_path: Path) -> Topology:
    return small(tmp_path)


def test_nothing_down_is_no_cause(top: Topology) -> None:
    assert ready(correlation_input(top, target("controller/nova/nova-api", State.UP))) == []


def test_a_dead_controller_is_one_cause_with_all_that_follows(top: Topology) -> None:
    targets = [target(key, State.DOWN, Outcome.SILENT) for key in APIS]
    targets += [
        target("controller/mariadb/mariadb", State.DOWN),
        target("compute1/agent/nova-compute", State.DOWN, Outcome.LATE),
    ]
    corroborations = {"controller": corroboration(Kind.HOST_OFF, power=False)}
    [one] = ready(
        correlation_input(
            top, host("controller", State.DOWN), *targets, corroborations=corroborations
        )
    )
    assert (one.cause.kind, one.cause.key) == (Kind.HOST_OFF, "host:controller")
    assert set(one.cause.symptoms) == {target.subject.key for target in targets}
    assert "replace controller --with spare1" in one.cause.remedy
    assert one.cause.evidence[0] == "they say host-off"


def test_a_host_that_is_cut_off_from_here_is_no_dead_host(top: Topology) -> None:
    others = replace(corroboration(Kind.MONITORING_HOST_ISOLATED), reached_by=4)
    cut = {"controller": others}
    down = [target(key, State.DOWN, Outcome.SILENT) for key in APIS]
    [one] = ready(correlation_input(top, host("controller", State.DOWN), *down, corroborations=cut))
    assert one.cause.kind is Kind.MONITORING_HOST_ISOLATED
    assert one.cause.title == (
        "Monitoring host isolated: controller is unreachable from here, reachable from 4 others"
    )
    assert "replace" not in one.cause.remedy
    assert one.cause.urgency is Urgency.WARNING


def test_cut_off_from_all_hosts_is_one_cause(top: Topology) -> None:
    names = list(top.cloud.hosts)
    corroborations = {name: corroboration(Kind.HOST_UNREACHABLE) for name in names}
    [one] = ready(
        correlation_input(
            top, *(host(name, State.DOWN) for name in names), corroborations=corroborations
        )
    )
    assert one.cause.kind is Kind.MONITORING_HOST_ISOLATED
    assert one.cause.title.endswith("every host is unreachable from here")


def test_while_hosts_fall_one_by_one_the_first_is_not_called_lost(top: Topology) -> None:
    corroborations = {"proxy": corroboration(Kind.HOST_UNREACHABLE)}
    falling = [host("proxy", State.DOWN), host("compute1", State.SUSPECT)]
    assert ready(correlation_input(top, *falling, corroborations=corroborations)) == []
    [one] = ready(correlation_input(top, falling[0], corroborations=corroborations))
    assert one.cause.kind is Kind.HOST_UNREACHABLE


def test_all_hosts_without_power_are_not_this_machines_network(top: Topology) -> None:
    names = list(top.cloud.hosts)
    corroborations = {name: corroboration(Kind.HOST_OFF, power=False) for name in names}
    found = ready(
        correlation_input(
            top, *(host(name, State.DOWN) for name in names), corroborations=corroborations
        )
    )
    assert {one.cause.kind for one in found} == {Kind.HOST_OFF}


def test_the_database_explains_the_apis_and_the_agents(top: Topology) -> None:
    targets = [target(key, State.DOWN) for key in APIS]
    targets += [
        target("controller/mariadb/mariadb", State.DOWN),
        target("controller/mariadb/query", State.DOWN),
        target("compute1/agent/nova-compute", State.DOWN, Outcome.LATE),
    ]
    [one] = ready(correlation_input(top, *targets))
    assert (one.cause.key, one.cause.kind) == ("service:controller/mariadb", Kind.SERVICE_FAILED)
    assert {*APIS, "compute1/agent/nova-compute"} == set(one.cause.symptoms)
    assert "systemctl restart mariadb" in one.cause.remedy


def test_the_broker_explains_the_agents_and_not_glance(top: Topology) -> None:
    found = ready(
        correlation_input(
            top,
            target("controller/rabbitmq/rabbitmq-server", State.DOWN, Outcome.LATE),
            target("controller/rabbitmq/message", State.DOWN, Outcome.LATE),
            target("compute1/agent/nova-compute", State.DOWN, Outcome.LATE),
            target("controller/glance/one image", State.DOWN, Outcome.LATE),
        )
    )
    assert [(one.cause.service, one.cause.kind) for one in found] == [
        ("rabbitmq", Kind.SERVICE_HUNG),
        ("glance", Kind.SERVICE_HUNG),
    ]


def test_what_a_service_stands_on_is_awaited_while_it_is_suspect(top: Topology) -> None:
    api = target("controller/nova/key pairs", State.DOWN)
    suspect = target("controller/mariadb/query", State.SUSPECT, Outcome.LATE)
    assert ready(correlation_input(top, api, suspect)) == []
    assert ready(correlation_input(top, api, host("controller", State.SUSPECT))) == []
    waited = replace(api, since=NOW - HOLD - 1)
    assert [one.cause.service for one in ready(correlation_input(top, waited, suspect))] == ["nova"]
    assert ready(correlation_input(top, api, silent_streams=frozenset({"controller"}))) == []
    unit = target("controller/nova/nova-api", State.DOWN)
    assert [one.cause.service for one in ready(correlation_input(top, unit, suspect))] == ["nova"]
    other = target("controller/glance/one image", State.SUSPECT, Outcome.LATE)
    assert [one.cause.service for one in ready(correlation_input(top, api, other))] == ["nova"]


def test_the_unit_of_an_agent_explains_the_agent(top: Topology) -> None:
    [one] = ready(
        correlation_input(
            top,
            target("compute1/nova/nova-compute", State.DOWN),
            target("compute1/agent/nova-compute", State.DOWN, Outcome.LATE),
        )
    )
    assert (one.cause.key, one.cause.kind) == ("service:compute1/nova", Kind.SERVICE_FAILED)


def test_a_hung_process_is_told_from_one_that_ended(top: Topology) -> None:
    stopped = target("controller/nova/nova-api", State.DOWN, Outcome.LATE)
    [one] = ready(
        correlation_input(
            top, stopped, target("controller/nova/key pairs", State.DOWN, Outcome.LATE)
        )
    )
    assert one.cause.kind is Kind.SERVICE_HUNG
    assert one.cause.title == "Compute (nova) on controller hangs: nova-api"


def test_agents_of_one_host_are_one_cause_and_of_many_hosts_too(top: Topology) -> None:
    two = [target(f"compute{n}/agent/nova-compute", State.DOWN, Outcome.LATE) for n in (1, 2)]
    assert [one.cause.remedy for one in ready(correlation_input(top, *two))] == [
        "backstay reattach compute1",
        "backstay reattach compute2",
    ]
    hosts = ("controller", "proxy", "compute1", "compute2")
    many = [target(f"{name}/agent/nova-compute", State.DOWN, Outcome.LATE) for name in hosts]
    [one] = ready(correlation_input(top, *many))
    assert (one.cause.key, one.cause.kind) == ("agents:cloud", Kind.AGENT_NOT_PROCESSING)


def test_a_host_in_a_planned_run_is_silent_and_what_it_carries(top: Topology) -> None:
    targets = [
        host("controller", State.DOWN),
        target("proxy/swift/object", State.DOWN),
        target("compute1/agent/nova-compute", State.DOWN, Outcome.LATE),
        target("controller/mariadb/mariadb", State.DOWN),
    ]
    silenced = frozenset({"controller"})
    assert ready(correlation_input(top, *targets, silenced=silenced)) == []
    own = target("compute1/libvirt/libvirtd", State.DOWN)
    assert [
        one.cause.host for one in ready(correlation_input(top, *targets, own, silenced=silenced))
    ] == ["compute1"]
    assert len(ready(correlation_input(top, *targets, silenced=frozenset({"compute1"})))) == 1


def test_findings_wait_until_nothing_else_is_the_matter(top: Topology) -> None:
    findings = {"controller": ("disk /: 99 % used",)}
    [one] = ready(correlation_input(top, findings=findings))
    assert (one.cause.kind, one.cause.urgency) == (Kind.FINDING, Urgency.WARNING)
    assert one.cause.title == "check failed on controller: disk /"
    both = ready(
        correlation_input(top, target("controller/nova/nova-api", State.DOWN), findings=findings)
    )
    assert [found.cause.kind for found in both] == [Kind.SERVICE_FAILED]
    for silenced in ("controller", "proxy"):  # whoever carries all others has the check find much
        elsewhere = {"proxy": ("swift: no token",)}
        assert (
            ready(correlation_input(top, findings=elsewhere, silenced=frozenset({silenced}))) == []
        )


def test_an_open_incidents_aftermath_is_still_its_own(top: Topology) -> None:
    dead = [host("controller", State.DOWN), target("controller/mariadb/mariadb", State.DOWN)]
    [one] = ready(
        correlation_input(top, *dead, corroborations={"controller": corroboration(Kind.HOST_OFF)})
    )
    booting = [
        target("controller/mariadb/mariadb", State.DOWN),
        target("controller/keystone/keystone", State.DOWN),
        target("proxy/swift/object", State.DOWN),
    ]
    assert [
        found.cause for found in ready(correlation_input(top, *booting, recovering=(one.cause,)))
    ] == [one.cause]
    elsewhere = target("compute1/libvirt/libvirtd", State.DOWN)
    assert len(ready(correlation_input(top, *booting, elsewhere, recovering=(one.cause,)))) == 2


def test_an_incident_is_not_over_while_what_follows_it_is_suspect_or_silent(
    top: Topology,
) -> None:
    corroborations = {"controller": corroboration(Kind.HOST_OFF)}
    [one] = ready(
        correlation_input(top, host("controller", State.DOWN), corroborations=corroborations)
    )
    starting = target("controller/neutron/one agent", State.SUSPECT, Outcome.REFUSED)
    recovering = (one.cause,)
    assert [
        found.cause for found in ready(correlation_input(top, starting, recovering=recovering))
    ] == [one.cause]
    silenced = frozenset({"controller"})
    assert [
        found.cause
        for found in ready(correlation_input(top, recovering=recovering, silent_streams=silenced))
    ] == [one.cause]
    elsewhere = target("compute1/libvirt/libvirtd", State.SUSPECT)
    assert ready(correlation_input(top, elsewhere, recovering=recovering)) == []


def test_what_is_coming_back_is_nothing_to_begin_with(top: Topology) -> None:
    for key in ("controller/nova/key pairs", "compute1/agent/nova-compute"):
        assert ready(correlation_input(top, target(key, State.RECOVERING))) == []
        assert len(ready(correlation_input(top, target(key, State.DOWN)))) == 1
    corroborations = {"proxy": corroboration(Kind.HOST_OFF)}
    assert (
        ready(
            correlation_input(top, host("proxy", State.RECOVERING), corroborations=corroborations)
        )
        == []
    )


def test_an_open_incident_goes_on_during_the_run_that_mends_it(top: Topology) -> None:
    corroborations = {"controller": corroboration(Kind.HOST_OFF)}
    [one] = ready(
        correlation_input(top, host("controller", State.DOWN), corroborations=corroborations)
    )
    booting = target("controller/mariadb/mariadb", State.DOWN)
    silenced = frozenset({"controller"})
    found = ready(correlation_input(top, booting, silenced=silenced, recovering=(one.cause,)))
    assert [each.cause for each in found] == [one.cause]
    assert ready(correlation_input(top, booting, silenced=silenced)) == []
