"""A compute host without a way to the broker: named in seconds, and nothing is restarted."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.background_load import nobody_misses_a_ping
from tests.acceptance.conftest import Lab
from tests.acceptance.test_reattach import ON_COMPUTE, changed, starts
from tests.acceptance.test_watch import broken
from tests.acceptance.watches import Watch, own_journal, watching

pytestmark = [pytest.mark.lab, pytest.mark.slow]

HOST = "compute1"
BY_REATTACH, BY_WATCH = 15.0, 30.0
FAULTS = [
    pytest.param(("cut-broker", {"lost": "back"}, "network", "network from"), id="answers-lost"),
    pytest.param(("cut-broker", {"lost": "there"}, "network", "network from"), id="asks-lost"),
    pytest.param(("wrong-broker", {"how": "name"}, "name", "name of the"), id="dead-dns"),
    pytest.param(
        ("wrong-broker", {"how": "password"}, "login", "refuses the login"), id="password"
    ),
    pytest.param(("wrong-broker", {"how": "vhost"}, "vhost", "virtual host"), id="vhost"),
    pytest.param(("wrong-broker", {"how": "tls"}, "tls", "TLS between"), id="tls"),
]


@pytest.fixture(autouse=True)
def healed(lab: Lab) -> Iterator[None]:
    yield
    lab.backstay("lab", "heal")
    lab.wait_green()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_journal(monkeypatch, tmp_path, tmp_path)


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    own_journal(monkeypatch, tmp_path, tmp_path)
    with watching(lab, tmp_path) as running:
        yield running


def stops(lab: Lab) -> list[int]:
    """How often each agent of the host was stopped, by systemd's log; not when it ended by itself.

    Without a broker agents end, and systemd starts them again.
    """
    found = []
    for unit in ON_COMPUTE:
        log = lab.shell(HOST, f"journalctl _PID=1 UNIT={unit}.service -o cat --no-pager")
        lines = log.splitlines()
        alone = sum("Scheduled restart job" in line for line in lines)
        found.append(sum(line.startswith("Stopped ") for line in lines) - alone)
    return found


@contextmanager
def nobody_restarts_an_agent(lab: Lab, fault: str) -> Iterator[None]:
    """What runs on the host is stopped by the fault alone, elsewhere nothing is started anew."""
    before, elsewhere = stops(lab), starts(lab)
    yield
    once = [count + (fault == "wrong-broker") for count in before]
    # The fault's own restart is still under way perhaps: nova-compute takes its time to end.
    lab.wait_until(lambda: stops(lab) >= once, what="the fault has restarted its agents")
    assert stops(lab) == once
    assert changed(elsewhere, starts(lab), but=HOST) == set()


def judged(lab: Lab, *more: str) -> tuple[float, int, list[dict[str, Any]]]:
    """How long `reattach` took, its exit status, and the agents of the host."""
    started = time.monotonic()
    done = lab.backstay("reattach", HOST, *more, "-o", "json", ok=False)
    took = time.monotonic() - started
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert document["plan"] is None, "a restart would help none"
    return took, done.returncode, document["agents"]


@pytest.mark.parametrize("case", FAULTS)
def test_reattach_names_the_broken_link_and_restarts_nothing(
    lab: Lab, journal: None, case: tuple[str, dict[str, str], str, str]
) -> None:
    fault, options, signature, word = case
    with nobody_misses_a_ping(lab), nobody_restarts_an_agent(lab, fault):
        broken(fault, HOST, options)
        took, status, agents = judged(lab, "--dry-run")
        print(f"NAMED in {took:.1f} s: {agents[0]['evidence']}")
        assert status == 4
        assert {one["signature"] for one in agents} == {signature}
        assert all(word in one["evidence"] for one in agents)
        assert all(HOST in one["evidence"] for one in agents)
        assert took <= BY_REATTACH
        _, status, _ = judged(lab, "--yes")
        assert status == 4
        found = [one for one in lab.check().bad() if one["host"] == HOST]
        assert any(word in one["evidence"] for one in found), found


@pytest.mark.parametrize("case", FAULTS)
def test_the_watch_names_the_broken_link(
    lab: Lab, watch: Watch, case: tuple[str, dict[str, str], str, str]
) -> None:
    fault, options, signature, word = case
    with nobody_restarts_an_agent(lab, fault):
        started = broken(fault, HOST, options)
        took, notified = watch.until_notified(started)
        print(f"NOTIFIED after {took:.1f} s of {signature}: {notified['title']}")
        assert (notified["kind"], notified["host"]) == ("broker-unreachable", HOST)
        assert word.lower() in notified["title"].lower()
        assert took <= BY_WATCH


def test_the_brokers_own_password_was_changed(lab: Lab, journal: None) -> None:
    ctl = "rabbitmqctl --quiet"
    url = lab.shell("controller", "grep -m1 ^transport_url /etc/nova/nova.conf")
    password = url.split("openstack:", 1)[1].split("@", 1)[0]
    lab.shell("controller", f"{ctl} change_password openstack another-one")
    try:
        lab.shell("controller", f"{ctl} close_all_connections changed")
        before = starts(lab)
        done = lab.backstay("reattach", "--dry-run", ok=False)
        assert done.returncode == 4, done.stdout + done.stderr
        assert "rabbitmqctl change_password openstack" in done.stdout
        assert "add_user" not in done.stdout
        assert password not in done.stdout
        assert changed(before, starts(lab)) == set()
    finally:
        lab.shell("controller", f"{ctl} change_password openstack {password}")
