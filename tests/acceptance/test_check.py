"""Stories of `backstay check`: a real fault, what the operator must read, and green again."""

import json

import pytest

from tests.acceptance.conftest import Lab

pytestmark = pytest.mark.lab


def test_a_healthy_cloud_is_all_green(lab: Lab) -> None:
    checked = lab.check()
    assert (checked.exit_status, checked.status, checked.bad()) == (0, "ok", [])
    assert {finding["host"] for finding in checked.findings} >= set(lab.hosts)
    for question in ("token", "image list", "server list", "project list", "volume list"):
        assert any(question in finding["subject"] for finding in checked.findings), question


def test_a_killed_service_is_named_with_its_remedy(lab: Lab) -> None:
    lab.backstay("lab", "break", "kill-service", "controller/nova-scheduler")
    checked = lab.check()
    finding = checked.about("controller", "unit nova-scheduler")
    assert checked.exit_status == 2
    assert finding["severity"] == "failed"
    assert "systemctl" in finding["remedy"]
    assert "nova-scheduler" in finding["remedy"]
    lab.backstay("lab", "heal")
    lab.wait_green()


def test_a_hung_api_is_found_although_its_port_is_open(lab: Lab) -> None:
    lab.backstay("lab", "break", "hang-service", "controller/nova-api")
    checked = lab.check()
    assert checked.exit_status == 2
    assert checked.about("controller", "unit nova-api")["severity"] == "failed"
    hung = [f for f in checked.bad() if f["service"] == "nova" and "server list" in f["subject"]]
    assert hung
    assert hung[0]["severity"] == "failed"
    lab.backstay("lab", "heal")
    lab.wait_green()


def test_a_host_cut_off_is_one_clear_finding_and_the_rest_is_still_checked(lab: Lab) -> None:
    lab.backstay("lab", "break", "cut-network", "compute1")
    checked = lab.check()
    on_host = [finding for finding in checked.bad() if finding["host"] == "compute1"]
    assert checked.exit_status == 2
    assert any("reach" in finding["evidence"] + finding["subject"] for finding in on_host), on_host
    assert all(finding["remedy"] for finding in on_host)
    assert checked.about("compute2", "unit nova-compute")["severity"] == "ok"
    assert any("image list" in f["subject"] and f["severity"] == "ok" for f in checked.findings)
    lab.backstay("lab", "heal")
    lab.wait_green()


def test_a_data_disk_that_has_turned_read_only_is_the_cause(lab: Lab) -> None:
    lab.backstay("lab", "break", "read-only-disk", "storage1")
    checked = lab.check()
    finding = checked.about("storage1", "mount /srv/node/d3")
    assert checked.exit_status == 2
    assert finding["severity"] == "failed"
    assert "turned read-only since it was mounted for writing" in finding["evidence"]
    assert "dmesg" in finding["remedy"]
    assert {one["host"] for one in checked.bad()} == {"storage1"}, "swift has its other disks"
    lab.backstay("lab", "heal")
    lab.wait_green()


def test_a_full_disk_is_found(lab: Lab) -> None:
    lab.backstay("lab", "break", "fill-disk", "compute2")
    checked = lab.check("compute2")
    finding = checked.about("compute2", "disk /")
    assert checked.exit_status == 2
    assert finding["severity"] == "failed"
    assert "du " in finding["remedy"]
    lab.backstay("lab", "heal")
    lab.wait_green()


def test_a_restart_loop_is_told_from_a_steady_unit(lab: Lab) -> None:
    lab.shell(
        "controller",
        "mkdir -p /run/systemd/system/cinder-scheduler.service.d;"
        " printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\nRestart=always\\nRestartSec=2\\n"
        "[Unit]\\nStartLimitIntervalSec=0\\n'"
        " > /run/systemd/system/cinder-scheduler.service.d/loop.conf;"
        " systemctl daemon-reload; systemctl restart --no-block cinder-scheduler",
    )
    try:
        lab.wait_until(
            lambda: (
                int(lab.shell("controller", "systemctl show -P NRestarts cinder-scheduler")) > 2
            ),
            what="cinder-scheduler restarts again and again",
        )
        finding = lab.check("controller").about("controller", "unit cinder-scheduler")
        assert finding["severity"] == "failed"
        assert "restart" in finding["evidence"]
    finally:
        lab.shell(
            "controller",
            "rm -r /run/systemd/system/cinder-scheduler.service.d; systemctl daemon-reload;"
            " systemctl reset-failed cinder-scheduler; systemctl restart cinder-scheduler",
        )
    lab.wait_green()


def test_one_monitoring_line_with_the_plugin_s_exit_status(lab: Lab) -> None:
    done = lab.backstay("check", "-o", "nagios")
    assert done.stdout.startswith("BACKSTAY OK")
    assert done.stdout.count("\n") == 1
    assert done.stdout.count("|") == 1


def test_wrong_password_is_a_finding_and_the_hosts_are_still_checked(lab: Lab) -> None:
    wrong = lab.openrc.with_name("openrc-wrong")
    cloud = lab.cloud_file.with_name("cloud-wrong.yaml")
    try:
        wrong.write_text(f". {lab.openrc}\nexport OS_PASSWORD=not-the-password\n")
        cloud.write_text(lab.cloud_file.read_text().replace("openrc: openrc", f"openrc: {wrong}"))
        checked = lab.check("--cloud", str(cloud))
    finally:
        wrong.unlink(missing_ok=True)
        cloud.unlink(missing_ok=True)
    refused = [f for f in checked.bad() if f["service"] == "keystone"]
    assert refused
    assert "not-the-password" not in json.dumps(checked.findings)
    assert checked.about("controller", "unit keystone")["severity"] == "ok"


def test_a_changed_host_key_is_refused_and_named(lab: Lab) -> None:
    known = lab.cloud_file.parent / "ssh" / "known_hosts"
    other = known.with_name("known_hosts-other")
    cloud = lab.cloud_file.with_name("cloud-other-key.yaml")
    lines = known.read_text().splitlines()
    proxy, spare = lab.hosts["proxy"]["address"], lab.hosts["spare1"]["address"]
    key_of_spare = next(line.split(" ", 1)[1] for line in lines if spare in line.split(" ")[0])
    kept = [line for line in lines if proxy not in line.split(" ")[0]]
    try:
        other.write_text("\n".join([*kept, f"{proxy} {key_of_spare}", ""]))
        cloud.write_text(
            lab.cloud_file.read_text().replace("ssh/known_hosts", "ssh/known_hosts-other")
        )
        checked = lab.check("proxy", "--cloud", str(cloud))
    finally:
        other.unlink(missing_ok=True)
        cloud.unlink(missing_ok=True)
    refused = [finding for finding in checked.bad() if finding["host"] == "proxy"]
    assert any("key" in finding["evidence"] for finding in refused), refused
    assert all("traceback" not in finding["evidence"].lower() for finding in refused)
