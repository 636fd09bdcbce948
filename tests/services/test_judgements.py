"""What services say of the answers to their own questions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backstay.answers import convert
from backstay.services import (
    cinder,
    glance,
    keystone,
    libvirt,
    mariadb,
    memcached,
    neutron,
    nova,
    placement,
    rabbitmq,
    swift,
)

ROWS = {
    "answer": "1",
    "version": "10.11",
    "read_only": "0",
    "max_connections": "400",
    "Threads_connected": "28",
    "wsrep_cluster_status": "Disconnected",
    "wsrep_cluster_size": "0",
}
NODE = {
    "name": "rabbit@c",
    "running": True,
    "partitions": [],
    "mem_alarm": False,
    "disk_free_alarm": False,
}
OTHER = NODE | {"name": "rabbit@d"}


def told(verdicts) -> list[tuple[str, str]]:
    return [(verdict.subject, verdict.severity.value) for verdict in verdicts]


@pytest.mark.parametrize(
    ("answer", "severity", "evidence"),
    [
        ({"rows": ROWS}, "ok", "28 of 400 connections"),
        ({"rows": ROWS | {"Threads_connected": "390"}}, "warning", "390 of 400"),
        ({"rows": ROWS | {"read_only": "1"}}, "failed", "read-only"),
        ({"failed": "ERROR 2002 (HY000): Can't connect"}, "failed", "ERROR 2002"),
        ({"rows": {}}, "failed", "no row"),
        ({"no_client": "none installed"}, "unknown", "none"),
    ],
)
def test_mariadb(answer, severity, evidence):
    (verdict,) = mariadb.judge_query(convert(mariadb.QueryAnswer, answer))
    assert (verdict.severity.value, bool(verdict.remedy)) == (severity, severity != "ok")
    assert evidence in verdict.evidence


def test_a_galera_member_out_of_its_cluster():
    rows = ROWS | {
        "wsrep_cluster_status": "non-Primary",
        "wsrep_cluster_size": "1",
        "wsrep_local_state_comment": "Initialized",
        "wsrep_ready": "OFF",
    }
    assert told(mariadb.judge_query(convert(mariadb.QueryAnswer, {"rows": rows})))[1] == (
        "Galera cluster",
        "failed",
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"login": "done", "nodes": [NODE]}, ["ok", "ok", "ok"]),
        ({"login": "done", "nodes": [NODE | {"mem_alarm": True}]}, ["ok", "failed", "ok"]),
        (
            {"login": "done", "nodes": [NODE | {"partitions": ["rabbit@d"]}, OTHER]},
            ["ok", "ok", "failed"],
        ),
        (
            {"login": "done", "nodes": [NODE, OTHER | {"running": False}]},
            ["ok", "ok", "ok", "failed"],
        ),
        ({"refused": "the broker refuses"}, ["failed", "unknown"]),
        ({"failed": "timed out"}, ["failed"]),
        (
            {
                "login": "done",
                "status": {
                    "alarms": [],
                    "partitions": {},
                    "disk_nodes": ["rabbit@c"],
                    "ram_nodes": [],
                    "running_nodes": ["rabbit@c"],
                },
            },
            ["ok", "ok", "ok"],
        ),
        (
            {
                "login": "done",
                "status": {
                    "alarms": [{"resource": "disk", "node": "rabbit@c"}],
                    "partitions": {"rabbit@c": ["rabbit@d"]},
                    "disk_nodes": ["rabbit@c"],
                    "running_nodes": ["rabbit@c"],
                },
            },
            ["ok", "failed", "failed"],
        ),
    ],
)
def test_rabbitmq(answer, expected):
    verdicts = rabbitmq.judge_broker(convert(rabbitmq.BrokerAnswer, answer))
    assert [verdict.severity.value for verdict in verdicts] == expected
    assert all(bool(v.remedy) == (v.severity != "ok") for v in verdicts)


def test_memcached_must_return_what_it_stored():
    good = "STORED\r\nVALUE k 0 2\r\nok\r\nEND\r\nDELETED\r\nSTAT evictions 3\r\nEND\r\n"

    def judged(answer: Any) -> Any:
        return told(memcached.judge_cache(convert(memcached.CacheAnswer, answer)))

    assert judged({"answer": good}) == [("cache", "ok")]
    full = "SERVER_ERROR out of memory storing object\r\nEND\r\nNOT_FOUND\r\nEND\r\n"
    assert judged({"answer": full}) == [("cache", "failed")]
    assert judged({"failed": "refused"}) == [("cache", "failed")]


def test_libvirt():
    (good,) = libvirt.judge_domains(convert(libvirt.DomainsAnswer, {"all": 3, "running": 2}))
    assert good.evidence.startswith("2 of 3")
    late = convert(libvirt.DomainsAnswer, {"failed": "no answer within 5 s"})
    assert told(libvirt.judge_domains(late))[0][1] == "failed"


def test_swift_servers_rings_and_the_unset_suffix():
    fine = {"status": 200, "said": "OK", "address": "10.0.0.12:8080"}
    rings = ["account.ring.gz", "container.ring.gz", "object.ring.gz"]
    answer = {"servers": {"proxy": fine}, "rings": rings, "unset": False}

    def judged(answer: Any) -> Any:
        return told(swift.judge_servers(convert(swift.HealthAnswer, answer)))

    assert judged(answer) == [("proxy server", "ok"), ("rings", "ok")]
    bad = {"servers": {"object": {"failed": "refused"}}, "rings": rings[1:], "unset": True}
    assert judged(bad) == [
        ("object server", "failed"),
        ("rings", "failed"),
        ("hash suffix", "warning"),
    ]
    assert swift.judge_account({}).severity.value == "failed"


def test_a_fresh_token_that_is_expired_tells_of_the_clocks():
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert keystone.judge_token({"expires_at": "2026-11-22T13:00:00Z"}, now=now).severity == "ok"
    stale = keystone.judge_token({"expires_at": "2026-11-22T11:00:00.000000Z"}, now=now)
    assert (stale.severity.value, "date -u" in stale.remedy) == ("failed", True)


def test_agents_of_the_three_apis():
    nova_agent = nova.read_agents(
        {
            "services": [
                {
                    "id": 1,
                    "binary": "nova-compute",
                    "host": "compute1",
                    "zone": "nova",
                    "status": "enabled",
                    "state": "up",
                    "updated_at": "2026-11-22T23:59:35.000000",
                    "disabled_reason": None,
                    "forced_down": False,
                }
            ]
        }
    )[0]
    assert nova_agent.heartbeat == datetime(2026, 11, 22, 23, 59, 35, tzinfo=UTC)
    assert (nova_agent.up, nova_agent.enabled, nova_agent.note) == (True, True, "")
    cinder_agent = cinder.read_agents(
        {
            "services": [
                {
                    "binary": "cinder-volume",
                    "host": "controller@ceph",
                    "status": "disabled",
                    "state": "down",
                    "updated_at": None,
                    "disabled_reason": "new disks",
                }
            ]
        }
    )[0]
    assert (cinder_agent.host, cinder_agent.heartbeat) == ("controller", None)
    assert (cinder_agent.up, cinder_agent.enabled, cinder_agent.note) == (False, False, "new disks")
    neutron_agent = neutron.read_agents(
        {
            "agents": [
                {
                    "binary": "neutron-dhcp-agent",
                    "host": "compute1",
                    "admin_state_up": True,
                    "alive": False,
                    "heartbeat_timestamp": "2026-11-22 23:59:35",
                    "description": None,
                }
            ]
        }
    )[0]
    assert neutron_agent.heartbeat == nova_agent.heartbeat
    assert (neutron_agent.up, neutron_agent.down_after) == (False, 75.0)


@pytest.mark.parametrize(
    ("changes", "odd"),
    [
        ({}, []),
        ({"status": "queued", "size": None}, []),
        ({"status": "strange"}, ["status is 'strange'"]),
        ({"size": None}, ["is active with size None"]),
        ({"min_disk": "10"}, ["min_disk is '10', not a number"]),
        ({"hw_qemu_guest_agent": True}, ["property hw_qemu_guest_agent is True, not text"]),
        ({"os_hidden": False, "tags": [], "owner": None}, []),
    ],
)
def test_odd_images(changes, odd):
    assert glance.anomalies({"id": "i", "status": "active", "size": 1} | changes) == odd


def test_odd_servers_and_volumes_and_providers():
    assert nova.anomalies({"status": "UNKNOWN"})
    assert not nova.anomalies({"status": "ERROR"})
    assert cinder.anomalies({"status": "available", "size": "big"})
    assert placement.judge_providers({"resource_providers": [{}]}).evidence == "1 resource provider"
    assert placement.judge_providers([]).severity.value == "failed"


def test_whether_instances_start_with_their_host(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str] = {}

    def text(path: Path) -> str:
        if path.name not in files:
            raise FileNotFoundError
        return files[path.name]

    monkeypatch.setattr(Path, "read_text", text)
    assert nova.ask_autostart() is None
    files["nova.conf"] = "[DEFAULT]\n# resume_guests_state_on_host_boot = true\n"
    assert nova.ask_autostart() is None
    files["nova.conf"] += "resume_guests_state_on_host_boot = True\n"
    assert nova.ask_autostart() is True
    files["nova-compute.conf"] = " resume_guests_state_on_host_boot=false\n"
    assert nova.ask_autostart() is False
