"""The text of timers; that systemd carries them out is a story on the lab."""

from datetime import datetime
from zoneinfo import ZoneInfo

from backstay.transports.timer import unit_files


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
