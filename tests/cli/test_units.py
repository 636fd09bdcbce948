"""What is written for systemd: no secrets where every user may read them, no program of others."""

import json
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.cli import units
from backstay.cli.exit_status import Refused
from backstay.cli.units import own_environment, secret_environment, unit_command
from backstay.errors import BackstayError
from backstay.inventory.load import load
from backstay.transports import systemd
from backstay.transports.systemd import (
    environment_file,
    install,
    reading,
    repeating_files,
    service_file,
    unit_files,
)

URL = 'postgresql+psycopg://backstay:p$a`s\\s"%w@10.0.0.5/journal'


def test_a_journal_with_a_password_is_not_in_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", URL)
    monkeypatch.setenv("BACKSTAY_LOCKS", "file:///var/lib/backstay/locks")
    assert own_environment() == {"BACKSTAY_LOCKS": "file:///var/lib/backstay/locks"}
    assert secret_environment() == {"BACKSTAY_JOURNAL": URL}
    files = repeating_files(
        "x",
        does="x",
        calendar="daily",
        command=["/x"],
        environment=own_environment(),
        secrets=secret_environment(),
    )
    service = files.pop("x.service")
    assert "EnvironmentFile=/etc/systemd/system/x.env\n" in service
    assert "10.0.0.5" not in service + files["x.timer"]
    assert files["x.env"].startswith("BACKSTAY_JOURNAL=")


def test_without_secrets_there_is_no_file() -> None:
    assert environment_file("x", {}) == {}
    assert reading("x", {}) == ""
    text = service_file(does="x", command=["/x"], environment={"A": "b"})
    assert 'Environment="A=b"' in text
    assert "EnvironmentFile" not in text


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_the_file_gives_back_what_was_put_in(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_text(environment_file("x", {"URL": URL})["x.env"])
    # systemd's quoting of such files is that of a shell.
    script = f'. {file}; printf %s "$URL"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == URL


def test_files_are_root_s_alone_whatever_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_require", lambda *_: None)
    monkeypatch.setattr(systemd, "_systemctl", lambda *_: None)
    (tmp_path / "x.env").write_text("old")
    (tmp_path / "x.env").chmod(0o644)
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "x.service").symlink_to(victim)
    install("x.service", {"x.service": "new", "x.env": "secret"}, tmp_path, instead="")
    for name in ("x.service", "x.env"):
        assert stat.S_IMODE((tmp_path / name).lstat().st_mode) == 0o600
        assert stat.S_ISREG((tmp_path / name).lstat().st_mode)
    assert victim.read_text() == "untouched"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["victim", "x.env", "x.service"]


def test_secrets_are_not_shown_by_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    units.show_files({"x.env": "PASSWORD=x", "x.service": "[Unit]"})
    said = capsys.readouterr().out
    assert "x.env: variables with secrets" in said
    assert "PASSWORD" not in said


def test_units_of_the_earlier_version_are_still_read(tmp_path: Path) -> None:
    for name, text in (
        ("x.timer", "[Timer]\nOnCalendar=daily\n"),
        ("x.service", '[Service]\nEnvironment="BACKSTAY_JOURNAL=a://u:p@h"\nExecStart="/x"\n'),
    ):
        (tmp_path / name).write_text(text)
    found = systemd.state("x", tmp_path)
    assert (found["OnCalendar"], found["ExecStart"]) == ("daily", '"/x"')


@pytest.mark.parametrize(
    "damaged", ["", "[Timer]\nOnCal", "[Timer]\nOnCalendarX=daily\n", "\0" * 400, "OnCalendar="]
)
def test_a_unit_that_is_damaged_is_named(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "x.service").write_text("[Service]\nExecStart=/x\n")
    (tmp_path / "x.timer").write_text(damaged)
    with pytest.raises(BackstayError, match=r"reading .*x\.timer: it has no line OnCalendar="):
        systemd.state("x", tmp_path)
    # What is not text beside the lines hinders nothing.
    (tmp_path / "x.timer").write_bytes(b"# \xff\xfe\nOnCalendar=daily\n")
    assert systemd.state("x", tmp_path)["OnCalendar"] == "daily"
    (tmp_path / "x.service").unlink()
    (tmp_path / "x.service").mkdir()
    with pytest.raises(BackstayError, match=r"reading .*x\.service"):
        systemd.state("x", tmp_path)


ASKS = "export OS_AUTH_URL=http://k:5000/v3 OS_USERNAME=a\nread -r OS_PASSWORD\n"
SETS = "export OS_AUTH_URL=http://k:5000/v3 OS_USERNAME=a OS_PASSWORD=b OS_PROJECT_NAME=c\n"


@pytest.mark.parametrize(
    ("cloud", "watch", "refused"),
    [
        ("asks", None, True),
        ("sets", None, False),
        ("sets", "asks", True),
        ("sets", "environment", True),
        ("absent", None, False),
    ],
)
def test_a_unit_cannot_be_asked_for_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cloud: str, watch: str | None, refused: bool
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "of this terminal")
    (tmp_path / "asks").write_text(ASKS)
    (tmp_path / "sets").write_text(SETS)
    own = {"environment": True} if watch == "environment" else {"openrc": watch}
    text = {
        "credentials": {"openrc": cloud},
        "hosts": {"a": {"address": "192.0.2.1", "roles": ["compute"]}},
        **({"watch": {"credentials": own}} if watch else {}),
    }
    (tmp_path / "cloud.yaml").write_text(json.dumps(text))
    read = load(tmp_path / "cloud.yaml")
    if not refused:
        units.refuse_environment(read, watch=True)
        return
    with pytest.raises(Refused, match="unit of systemd"):
        units.refuse_environment(read, watch=True)


def test_a_program_that_others_may_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "backstay"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert unit_command("check")[0] == str(program)
    program.chmod(0o777)
    with pytest.raises(Refused, match="everybody may write"):
        unit_command("check")
    program.chmod(0o755)
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="everybody may write"):
        unit_command("check")
    tmp_path.chmod(0o755)
    program.unlink()
    with pytest.raises(Refused):
        unit_command("check")


def test_a_module_that_others_may_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is imported runs with the unit's rights, not only what is named on its line."""
    module = tmp_path / "lib" / "package" / "module.py"
    module.parent.mkdir(parents=True)
    module.touch(mode=0o644)
    program = tmp_path / "backstay"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setattr(sys, "path", [str(tmp_path / "lib"), str(tmp_path / "lib" / "python.zip")])
    assert unit_command("check")[0] == str(program)
    module.chmod(0o666)
    with pytest.raises(Refused, match=r"would run what is in .*lib as root, .*module\.py"):
        unit_command("check")


def test_a_timer_that_starts_once_reads_the_file() -> None:
    files = unit_files(
        "x",
        does="x",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        command=["/x"],
        environment={},
        secrets={"A": "b"},
    )
    assert "EnvironmentFile=/etc/systemd/system/x.env" in files["x.service"]
    assert files["x.env"] == 'A="b"\n'
