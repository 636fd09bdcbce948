"""The text of timers; that systemd carries them out is a story on the lab."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backstay.errors import BackstayError
from backstay.transports.timer import install, service_file, uninstall, unit_files


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


def test_the_file_of_a_service_that_is_always_started_again() -> None:
    text = service_file(
        does="Backstay: receive the binary log of controller",
        command=["/opt/backstay", "backup", "stream", "controller"],
        environment={},
    )
    assert 'ExecStart="/opt/backstay" "backup" "stream" "controller"\n' in text
    assert "Restart=always\n" in text
    assert "StartLimitIntervalSec=0\n" in text
    assert "WantedBy=multi-user.target\n" in text


def test_what_was_not_installed_is_not_removed(tmp_path: Path) -> None:
    with pytest.raises(BackstayError, match=r"there is no backstay-stream-lab-controller\.service"):
        uninstall(["backstay-stream-lab-controller.service"], tmp_path)


def test_what_to_do_without_systemd_is_the_caller_s_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BackstayError) as raised:
        install("x", {"x.service": ""}, tmp_path, start="x.service", instead="keep it running")
    assert raised.value.remedy == "do it as root, or keep it running"
    assert "installing x.service" in str(raised.value)
