"""The text of timers; that systemd carries them out is a story on the lab."""

import shutil
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backstay.errors import BackstayError
from backstay.transports import systemd as timer
from backstay.transports.systemd import next_time, repeating_files, unit_files


def test_the_files_of_a_timer() -> None:
    files = unit_files(
        "backstay-reboot-controller",
        does="Backstay: reboot controller",
        at=datetime(2026, 11, 24, 2, 0, tzinfo=ZoneInfo("Europe/Berlin")),
        command=["/opt/backstay", "reboot", "--reason", 'a "new" 100 % $kernel'],
        environment={"BACKSTAY_JOURNAL": "sqlite:////j.db"},
    )
    assert "OnCalendar=2026-11-24 01:00:00 UTC\n" in files["backstay-reboot-controller.timer"]
    service = files["backstay-reboot-controller.service"]
    assert 'ExecStart="/opt/backstay" "reboot" "--reason" "a \\"new\\" 100 %% $$kernel"' in service
    assert 'Environment="BACKSTAY_JOURNAL=sqlite:////j.db"' in service


def test_the_files_of_a_timer_that_repeats() -> None:
    files = repeating_files(
        "backstay-backup-lab",
        does="Backstay: backup-lab",
        calendar="*-*-* 00:30",
        command=["/opt/backstay", "backup", "create"],
        environment={},
    )
    timer = files["backstay-backup-lab.timer"]
    assert "OnCalendar=*-*-* 00:30\nRandomizedDelaySec=300s\nPersistent=true\n" in timer
    assert timer.endswith("[Install]\nWantedBy=timers.target\n")
    assert 'ExecStart="/opt/backstay" "backup" "create"\n' in files["backstay-backup-lab.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_when_a_calendar_expression_comes_next() -> None:
    assert next_time("*-*-* 00:30")
    assert next_time("Mon..Fri 04:00")
    with pytest.raises(BackstayError, match="Failed to parse calendar"):
        next_time("every day")
    with pytest.raises(BackstayError, match="Failed to parse calendar"):
        next_time("daily\nOnCalendar=hourly")
    with pytest.raises(BackstayError, match="never comes"):
        next_time("2020-01-01")


def test_without_systemd_an_expression_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert next_time("every day") == ""


SHOWN = """#!/bin/sh
echo "$*" >> {log}
case "$2" in
*.timer) echo 'NextElapseUSecRealtime=Wed 2026-11-25 00:33:12 UTC'
         echo 'LastTriggerUSec=Tue 2026-11-24 00:31:05 UTC' ;;
*.service) echo Result=success; echo ActiveState=inactive ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is asked."""
    log, program = tmp_path / "log", tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SHOWN.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(timer, "BOOTED", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return log


def test_installed_shown_and_removed(tmp_path: Path, systemctl: Path) -> None:
    assert timer.state("x", tmp_path) == {}
    assert not timer.remove("x.timer", "x.service", folder=tmp_path)
    files = repeating_files("x", does="x", calendar="daily", command=["/x"], environment={"A": "b"})
    timer.install("x.timer", files, tmp_path, instead="do it by hand")
    assert systemctl.read_text().splitlines() == [
        "daemon-reload",
        "enable x.timer",
        "restart x.timer",
    ]
    assert (tmp_path / "x.service").stat().st_mode & 0o777 == 0o600
    assert timer.state("x", tmp_path) == {
        "OnCalendar": "daily",
        "NextElapseUSecRealtime": "Wed 2026-11-25 00:33:12 UTC",
        "LastTriggerUSec": "Tue 2026-11-24 00:31:05 UTC",
        "ExecStart": '"/x"',
        "Result": "success",
        "ActiveState": "inactive",
    }
    assert timer.remove("x.timer", "x.service", folder=tmp_path)
    assert systemctl.read_text().splitlines()[-2:] == ["disable --now x.timer", "daemon-reload"]
    assert timer.state("x", tmp_path) == {}


@pytest.mark.parametrize(("root", "told"), [(False, "only root"), (True, "not this machine's")])
def test_nothing_is_written_where_it_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: bool, told: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(timer, "BOOTED", tmp_path / "nowhere")
    with pytest.raises(BackstayError, match=told) as raised:
        timer.install("x.timer", {"x.timer": ""}, tmp_path, instead="let cron call it")
    assert "let cron call it" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []
