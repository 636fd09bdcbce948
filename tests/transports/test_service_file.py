"""The text of a service that runs forever."""

from backstay.transports.systemd import service_file


def test_it_is_always_started_again() -> None:
    text = service_file(
        does="Backstay: receive the binary log of controller",
        command=["/opt/backstay", "backup", "stream", "controller"],
        environment={"KEY": "a b"},
    )
    assert 'ExecStart="/opt/backstay" "backup" "stream" "controller"\n' in text
    assert 'Environment="KEY=a b"\n' in text
    assert "Restart=always\n" in text
    assert "StartLimitIntervalSec=0\n" in text
    assert "WantedBy=multi-user.target\n" in text
