"""Backups put back on real hosts: one service, a proxy, a controller that was destroyed."""

import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.background_load import pinging
from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with, last_run, result
from tests.acceptance.test_backup import Writer, create
from tests.acceptance.test_clients import objects_have_their_digests
from tests.acceptance.test_stream import caught_up, status, streaming

pytestmark = pytest.mark.lab

EVERY = 3  # of the moments at which something is written down
KILLS = 5


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        yield file
    forget_what_was_kept(lab)


def forget_what_was_kept(lab: Lab) -> None:
    """Remove what restores keep for their operators: the lab's hosts are small."""
    names = "mariadb -BNe \"SHOW DATABASES LIKE '%\\_\\_before\\_%'\""
    lab.shell("controller", f'for n in $({names}); do mariadb -e "DROP DATABASE $n"; done')
    for host in ("controller", "proxy"):
        lab.shell(host, "rm -rf /var/lib/mysql.backstay-* /var/lib/backstay/restore")


def restore(lab: Lab, cloud: Path, *arguments: str, ok: bool = True) -> Any:
    named = ("backup", "restore", *arguments, "--cloud", str(cloud))
    return lab.backstay(*named, bound=900, ok=ok)


def starts(lab: Lab, host: str, *units: str) -> dict[str, str]:
    """When units of a host were started last."""
    command = "systemctl show --value --property=ActiveEnterTimestampMonotonic"
    return {unit: lab.shell(host, f"{command} {unit}").strip() for unit in units}


def projects(writer: Writer) -> set[str]:
    return {one["name"] for one in writer.api.get("identity", "/v3/projects")["projects"]}


def add_project(writer: Writer, name: str) -> None:
    made = writer.api.post("identity", "/v3/projects", {"project": {"name": name}})
    writer.note("identity", f"/v3/projects/{made['project']['id']}")


def test_one_service_is_put_back_and_the_others_run_on(lab: Lab, cloud: Path) -> None:
    writer = Writer(lab)
    try:
        add_project(writer, "story-before")
        create(lab, cloud, "controller", "--verify")
        add_project(writer, "story-after")
        lab.shell("controller", "echo broken > /etc/keystone/keystone.conf")
        others = ("nova-conductor", "mariadb", "rabbitmq-server", "glance-api")
        before = starts(lab, "controller", *others, "keystone")

        told = restore(lab, cloud, "controller", "--service", "keystone", "--dry-run").stdout
        assert "keystone.project: " in told
        assert "/etc/keystone/keystone.conf" in told
        assert "what was written to the databases after" in told
        assert starts(lab, "controller", "keystone")["keystone"] == before["keystone"]

        refused = restore(lab, cloud, "controller", "--service", "keystone", ok=False)
        assert "needs --yes" in refused.stderr
        restore(lab, cloud, "controller", "--service", "keystone", "--yes")
        after = starts(lab, "controller", *others, "keystone")
        assert after.pop("keystone") != before.pop("keystone")
        assert after == before, "only keystone was stopped"
        assert projects(writer) >= {"story-before", "admin"}
        assert "story-after" not in projects(writer)
        kept = result(last_run(lab), "controller.swap")["kept"]
        [database] = [one.removeprefix("database ") for one in kept if "database" in one]
        names = lab.shell("controller", f"mariadb -BNe 'SELECT name FROM {database}.project'")
        assert "story-after" in names.split("\n"), "what was there is kept"
        lab.wait_green()
    finally:
        writer.clean()


def test_the_databases_of_a_service_as_of_a_time(lab: Lab, cloud: Path) -> None:
    writer = Writer(lab)
    try:
        with streaming(cloud):
            caught_up(lab, cloud)
            create(lab, cloud, "controller", "--verify")
            add_project(writer, "story-early")
            # Commits in the log have whole seconds; those in the second asked for are left out.
            between = datetime.fromtimestamp(int(time.time()) + 1, UTC)
            lab.wait_until(lambda: datetime.now(UTC) > between, what="it is over", bound=5)
            add_project(writer, "story-late")
            caught_up(lab, cloud)
        arguments = ("controller", "--service", "keystone", "--yes", "--to")
        restore(lab, cloud, *arguments, between.isoformat())
        assert "story-early" in projects(writer)
        assert "story-late" not in projects(writer)
        restore(lab, cloud, *arguments, "latest")
        assert {"story-early", "story-late"} <= projects(writer), "the log here is not cut"
        lab.wait_green()
    finally:
        writer.clean()


@pytest.mark.slow
def test_a_whole_controller_is_filled_straight_from_a_verified_backup(
    lab: Lab, cloud: Path
) -> None:
    writer = Writer(lab)
    try:
        add_project(writer, "story-before")
        create(lab, cloud, "controller", "--verify")
        add_project(writer, "story-after")
        command = ["backup", "restore", "controller", "--yes", "--cloud", str(cloud)]
        running = subprocess.Popen(
            [BACKSTAY, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        made = "ls -d /var/lib/mysql.backstay-*/new/keystone 2>/dev/null || true"
        lab.wait_until(
            lambda: bool(lab.shell("controller", made)),
            what="the host is filled",
            bound=60,
            pause=0.05,  # filling takes about a second; what follows stops the services
        )
        running.kill()
        running.wait(10)
        assert {"story-before", "story-after"} <= projects(writer), "it was made beside"
        lab.backstay("runs", "resume", last_run(lab)["id"], "--cloud", str(cloud), bound=900)
        assert "here" not in result(last_run(lab), "controller.rebuild")["summary"]
        assert "story-before" in projects(writer)
        assert "story-after" not in projects(writer)
        lab.wait_green()
    finally:
        writer.clean()


def test_a_proxy_gets_its_rings_and_its_hash_suffix_back(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "proxy", "--verify")
    lab.shell("proxy", "rm -r /etc/swift; systemctl stop swift-proxy")
    restore(lab, cloud, "proxy", "--yes")
    lab.wait_green()
    objects_have_their_digests(lab)


@pytest.mark.slow
def test_killed_at_step_boundaries_and_at_random_instants(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "controller", "--verify")
    command = [
        "backup",
        "restore",
        "controller",
        "--service",
        "glance",
        "--yes",
        "--cloud",
        str(cloud),
    ]
    for point in itertools.count(1, EVERY):
        killed = subprocess.run(
            [sys.executable, "-m", "tests.acceptance.killed_reboot", str(point), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        resumed_and_well(lab, cloud)
    assert point > len(last_run(lab)["steps"]), "it was killed on its way"
    chosen = random.Random(4)
    for _ in range(KILLS):
        running = subprocess.Popen(
            [BACKSTAY, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=chosen.uniform(0.5, 9))
        running.kill()
        running.wait(timeout=10)
        resumed_and_well(lab, cloud)
    left = subprocess.run(
        ["pgrep", "-f", f"{cloud.parent}.*mariadbd"], capture_output=True, text=True, check=False
    )
    assert left.stdout == "", "no scratch server is left"


def resumed_and_well(lab: Lab, cloud: Path) -> None:
    listed = json.loads(lab.backstay("runs", "list", "-o", "json").stdout)
    if listed[0]["state"] != "done":
        lab.backstay("runs", "resume", listed[0]["id"], "--cloud", str(cloud), bound=600)
    assert last_run(lab)["state"] == "done"
    lab.wait_green()
    masked = "systemctl list-unit-files --no-legend --state=masked-runtime || true"
    assert lab.shell("controller", masked) == ""
    tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'glance'"
    assert int(lab.shell("controller", f'mariadb -BNe "{tables}"')) > 10


@pytest.mark.slow
def test_a_controller_destroyed_under_load_loses_nothing_that_the_stream_had(
    lab: Lab, cloud: Path, record_property: Any
) -> None:
    with streaming(cloud), pinging(lab) as pings:
        create(lab, cloud, "controller", "--verify")
        caught_up(lab, cloud)
        writer = Writer(lab)
        writer.start()
        try:
            lab.wait_until(lambda: len(writer.acknowledged) > 40, what="the writer writes")
            lab.backstay("lab", "break", "dead-board", "controller")
        finally:
            writer.stop()
        lab.wait_until(lambda: status(lab, cloud)[1]["state"]["doing"] == "failed", what="noticed")
        told = status(lab, cloud)[1]
        known = min(told["state"]["caught_up_at"], told["files_whole_at"])
        lab.backstay("lab", "new-board", "controller", bound=600)

        restored = restore(lab, cloud, "controller", "--to", "latest", "--yes").stdout
        assert "the log is known to be complete up to" in restored, "what may be lost is told"
        lab.wait_green()
    lost = [one for one in writer.acknowledged if not writer.is_there(*one[1:])]
    late = [one for one in lost if one[0] > known]
    print(
        f"{len(writer.acknowledged)} writes acknowledged, {len(lost)} lost; "
        f"{sum(one[0] > known for one in writer.acknowledged)} were acknowledged after the stream "
        f"was last known to have everything; {pings.sent} pings, {len(pings.lost)} lost"
    )
    record_property("acknowledged writes", len(writer.acknowledged))
    record_property("lost", len(lost))
    assert lost == late, "what the stream had is there"
    assert pings.lost == []
    writer.clean()
