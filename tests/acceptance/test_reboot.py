"""Planned reboots: what goes well, and what is refused or stopped with its reason."""

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backstay.transports.systemd import unit_files
from backstay_lab.seed_instances import FLAVOR, NETWORK
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import boot_id, cloud_with, last_run, reboot, result, start_reboot
from tests.acceptance.test_clients import in_sh

pytestmark = pytest.mark.lab

HANGS = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sleep infinity
TimeoutStopSec=infinity
"""


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")


def test_the_storage_proxy_reboots_and_everything_is_back(lab: Lab) -> None:
    before = boot_id(lab, "proxy")
    run = json.loads(reboot(lab, "proxy", "-o", "json").stdout)
    assert run == last_run(lab)
    assert run["state"] == "done"
    assert result(run, "proxy.note")["boot_id"] == before
    assert result(run, "proxy.up")["boot_id"] == boot_id(lab, "proxy") != before
    assert lab.check().status == "ok"
    report = run["reports"][0]
    lines = {line["what"]: line for line in report["lines"]}
    assert lines["object-store"]["down"] > 0
    assert {line["what"] for line in report["lines"] if line["kind"] == "instance"} == {
        server["name"] for server in lab.seed["instances"]
    }
    page = lab.backstay("runs", "show", run["id"], "-o", "html").stdout
    assert "<svg" in page
    assert before in page


@pytest.mark.slow
def test_an_instance_is_building_then_the_controller_reboots_and_no_ping_is_lost(
    lab: Lab,
) -> None:
    for host in ("compute1", "compute2"):
        lab.backstay("lab", "break", "hang-service", f"{host}/nova-compute")
    in_sh(
        lab,
        f"openstack server create --image {lab.seed['image']} --flavor {FLAVOR} "
        f"--network {NETWORK} story -f value -c id",
    )
    try:
        refused = reboot(lab, "controller", ok=False)
        assert refused.returncode == 4
        assert "in-flight: tasks are under way: server story is " in refused.stdout
        assert "--wait-for-idle" in refused.stdout
        assert last_run(lab)["state"] == "refused"

        lab.backstay("lab", "heal")
        reboot(lab, "controller", "--wait-for-idle", "4m")
        run = last_run(lab)
        assert run["state"] == "done"
        lines = run["reports"][0]["lines"]
        instances = [line for line in lines if line["kind"] == "instance"]
        assert {line["what"] for line in instances} >= {s["name"] for s in lab.seed["instances"]}
        assert all(line["asked"] > 100 and line["unanswered"] == 0 for line in instances), lines
        assert all(line["down"] > 0 for line in lines if line["kind"] == "api"), lines
        assert in_sh(lab, "openstack server show story -f value -c status").strip() == "ACTIVE"
    finally:
        in_sh(lab, "openstack server delete --wait story")


@pytest.fixture
def hanging(lab: Lab) -> Iterator[None]:
    """A unit on spare1 that never stops; whatever becomes of the story, the host is up again."""
    lab.shell("spare1", f"cat > /run/systemd/system/hangs.service <<'E'\n{HANGS}E\n")
    lab.shell("spare1", "systemctl daemon-reload && systemctl start hangs")
    yield
    if lab.check("spare1").bad():
        lab.backstay("lab", "break", "power-off", "spare1")
        lab.backstay("lab", "heal")


@pytest.mark.usefixtures("hanging")
def test_it_hangs_in_shutdown_and_is_power_cycled_by_its_bmc(lab: Lab) -> None:
    with cloud_with(lab, "maintenance: {down: 15s, settle: 1s}\n") as cloud:
        reboot(lab, "spare1", cloud=cloud)
    run = last_run(lab)
    assert result(run, "spare1.down")["cycled"]
    assert result(run, "spare1.up")["boot_id"] == boot_id(lab, "spare1")
    assert run["reports"][0]["boot_before"] != boot_id(lab, "spare1")
    said = [event["text"] for event in run["events"] if event["kind"] == "progress"]
    assert any("power-cycling it by its BMC" in text for text in said), said


@pytest.mark.usefixtures("hanging")
def test_it_hangs_in_shutdown_and_may_not_be_power_cycled(lab: Lab) -> None:
    before = boot_id(lab, "spare1")
    with cloud_with(lab, "maintenance: {down: 15s, settle: 1s, power_cycle: false}\n") as cloud:
        stopped = reboot(lab, "spare1", cloud=cloud, ok=False)
        assert stopped.returncode == 2
        assert "it had not gone down 15 s after it was asked" in stopped.stdout
        assert "backstay runs resume" in stopped.stdout
        lab.backstay("lab", "break", "power-off", "spare1")
        lab.backstay("lab", "heal")
        done = lab.backstay("runs", "resume", last_run(lab)["id"], "--cloud", str(cloud))
        assert "DONE" in done.stdout
    assert result(last_run(lab), "spare1.up")["boot_id"] == boot_id(lab, "spare1") != before


def test_a_unit_does_not_come_back(lab: Lab) -> None:
    lab.shell("proxy", "systemctl disable swift-proxy")
    with cloud_with(lab, "maintenance: {units: 25s, settle: 1s}\n") as cloud:
        stopped = reboot(lab, "proxy", cloud=cloud, ok=False)
        assert stopped.returncode == 2
        assert "proxy: unit swift-proxy: not running" in stopped.stdout
        assert "systemctl enable --now swift-proxy" in stopped.stdout
        run = last_run(lab)
        assert run["state"] == "failed"
        rebooted = boot_id(lab, "proxy")

        lab.shell("proxy", "systemctl enable --now swift-proxy")
        lab.backstay("runs", "resume", run["id"], "--cloud", str(cloud))
    assert last_run(lab)["state"] == "done"
    assert boot_id(lab, "proxy") == rebooted, "resuming reboots no second time"
    lab.wait_green()


def test_outside_of_the_window_it_is_refused_with_the_numbers(lab: Lab) -> None:
    before = boot_id(lab, "spare1")
    text = (
        "windows: {short: {start: '00:00', duration: 10m}}\n"
        "maintenance: {expected: 20m, settle: 1s}\n"
    )
    with cloud_with(lab, text) as cloud:
        named = ("spare1", "--window", "short", "--yes", "--cloud", str(cloud))
        short = lab.backstay("reboot", *named, ok=False)
        assert short.returncode == 4
        assert "never open for more than 10 min" in short.stderr
        assert "20 min (a guess" in short.stderr
        now = reboot(lab, "spare1", cloud=cloud, ok=False)
        assert now.returncode == 4
        assert "latest safe start" in now.stderr
        assert "it is expected to take 20 min" in now.stderr
        assert boot_id(lab, "spare1") == before

        unreasoned = reboot(lab, "spare1", "--emergency", cloud=cloud, ok=False)
        assert unreasoned.returncode == 64
        reboot(lab, "spare1", "--emergency", "--reason", "a story", cloud=cloud)
    assert last_run(lab)["reason"] == "a story"
    assert boot_id(lab, "spare1") != before


def test_the_second_operator_is_told_who_holds_the_lock(lab: Lab) -> None:
    proxy = boot_id(lab, "proxy")
    with cloud_with(lab, "maintenance: {settle: 8s}\n") as cloud:
        first = start_reboot("spare1", "compute2", cloud=cloud)
        try:
            lab.wait_until(
                lambda: "spare1.ask" in str(list_steps(lab, "done")), what="the first has started"
            )
            second = reboot(lab, "proxy", cloud=cloud, ok=False)
        finally:
            output, _ = first.communicate(timeout=300)
    assert second.returncode == 4
    assert f"process {first.pid}, for run reboot-1" in second.stderr
    assert boot_id(lab, "proxy") == proxy
    assert first.returncode == 0, output
    assert last_run(lab)["state"] == "refused"
    both = json.loads(lab.backstay("runs", "show", "1", "-o", "json").stdout)
    assert [report["host"] for report in both["reports"]] == ["spare1", "compute2"]


def list_steps(lab: Lab, state: str) -> list[str]:
    """The steps of the newest run that are in that state; none where there is no run yet."""
    listed = lab.backstay("runs", "list", "-o", "json")
    if listed.stdout.strip() == "[]":
        return []
    return [step["id"] for step in last_run(lab)["steps"] if step["state"] == state]


def test_hooks_are_called_and_may_refuse(lab: Lab, tmp_path: Path) -> None:
    before = boot_id(lab, "spare1")
    log = tmp_path / "log"
    text = "maintenance:\n  settle: 1s\n  hooks:\n    before: ['{0}']\n    after: ['{1}']\n"
    told = f'echo "$BACKSTAY_STEP $BACKSTAY_HOST" >> {log}'
    with cloud_with(lab, text.format("echo no ticket is open; exit 1", told)) as cloud:
        refused = reboot(lab, "spare1", cloud=cloud, ok=False)
    assert refused.returncode == 4
    assert "no ticket is open" in refused.stdout
    assert boot_id(lab, "spare1") == before
    with cloud_with(lab, text.format(told, told)) as cloud:
        reboot(lab, "spare1", cloud=cloud)
    assert log.read_text().split("\n") == ["before spare1", "after spare1", ""]


def test_a_timer_begins_it_once_at_its_time(lab: Lab) -> None:
    """The files that --schedule installs, carried out by the systemd of a host."""
    name, at = "backstay-story", datetime.now(UTC) + timedelta(seconds=20)
    files = unit_files(
        name,
        does="a story",
        at=at,
        command=["/bin/sh", "-c", "echo $KEY at $(date +%s) >> /root/fired"],
        environment={"KEY": '100 % "fired"'},
    )
    for file, text in files.items():
        lab.shell("spare1", f"cat > /run/systemd/system/{file} <<'E'\n{text}E\n")
    lab.shell("spare1", f"rm -f /root/fired; systemctl daemon-reload; systemctl start {name}.timer")
    try:
        lab.wait_until(
            lambda: "fired" in lab.shell("spare1", "cat /root/fired 2>/dev/null; true"),
            what="the timer has fired",
            bound=60,
        )
        [fired] = lab.shell("spare1", "cat /root/fired").splitlines()
    finally:
        lab.shell("spare1", f"systemctl stop {name}.timer; rm /run/systemd/system/{name}.*")
    assert fired.startswith('100 % "fired" at ')
    assert 0 <= int(fired.split()[-1]) - int(at.timestamp()) <= 3


def test_the_journal_in_mariadb_and_the_run_resumed_from_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of configuration, no change of code: several operators share such a journal."""
    password = secrets.token_hex(8)
    lab.shell(
        "controller",
        "mysql -e \"create database backstay_story; create user story@'%' identified by "
        f"'{password}'; grant all on backstay_story.* to story@'%'\"",
    )
    place = f"{lab.hosts['controller']['address']}/backstay_story"
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"mysql+pymysql://story:{password}@{place}")
    try:
        with cloud_with(lab, "maintenance: {settle: 1s}\n") as cloud:
            killed = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.acceptance.killed_reboot",
                    "9",
                    "reboot",
                    "spare1",
                    "--now",
                    "--yes",
                    "--cloud",
                    str(cloud),
                ],
                capture_output=True,
                check=False,
                timeout=300,
            )
            assert killed.returncode == -signal.SIGKILL
            assert last_run(lab)["state"] == "running"
            lab.backstay("runs", "resume", "reboot-1", "--cloud", str(cloud))
        run = last_run(lab)
        assert run["state"] == "done"
        assert result(run, "spare1.up")["boot_id"] == boot_id(lab, "spare1")
        monkeypatch.setenv("BACKSTAY_JOURNAL", f"mysql+pymysql://story:wrong{password}@{place}")
        refused = lab.backstay("runs", "list", ok=False)
        assert refused.returncode == 3
        assert password not in refused.stderr
    finally:
        lab.shell("controller", "mysql -e \"drop database backstay_story; drop user story@'%'\"")
