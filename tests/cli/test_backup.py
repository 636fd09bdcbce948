"""The command line of backups: schedules, and what is shown."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backstay.backup.catalogue import Backup, Catalogue
from backstay.cli.backup_schedule import only_here
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.transports import systemd

CLOUD = """
name: my cloud
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
  proxy: {address: 192.0.2.12, roles: [storage-proxy]}
backup: {folder: backups}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD)
    monkeypatch.setenv("BACKSTAY_CLOUD", str(file))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(backstay, ["backup", *arguments])

    return run


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What would have been installed."""
    found: dict[str, str] = {}
    monkeypatch.setattr(systemd, "install", lambda _name, files, **_: found.update(files))
    return found


def test_a_schedule_names_all_that_it_needs(
    call: Any, installed: dict[str, str], tmp_path: Path
) -> None:
    done = call("schedule", "install", "proxy", "--at", "Mon..Fri 04:00")
    assert done.exit_code == 0, done.output
    assert "scheduled: Mon..Fri 04:00" in done.output
    assert set(installed) == {"backstay-backup-my-cloud.service", "backstay-backup-my-cloud.timer"}
    service = installed["backstay-backup-my-cloud.service"]
    assert '"backup" "create" "proxy" "--verify" "--prune"' in service
    assert f'"--cloud" "{tmp_path}/cloud.yaml"\n' in service
    assert f'Environment="BACKSTAY_JOURNAL=sqlite:///{tmp_path}/journal.db"' in service
    assert f'Environment="BACKSTAY_LOCKS=file://{tmp_path}/locks"' in service


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["controler"], "did you mean controller?"),
        (["--at", "every day"], "reading the calendar expression `every day`"),
    ],
)
def test_a_schedule_called_wrongly(
    call: Any, installed: dict[str, str], arguments: list[str], told: str
) -> None:
    done = call("schedule", "install", *arguments)
    assert done.exit_code != 0
    assert told in done.output + str(done.exception)
    assert installed == {}


def test_credentials_of_this_terminal_alone_are_refused(
    call: Any, installed: dict[str, str], tmp_path: Path
) -> None:
    text = CLOUD.replace("{openrc: openrc}", "{environment: true}")
    (tmp_path / "cloud.yaml").write_text(text)
    done = call("schedule", "install")
    assert done.exit_code == ExitStatus.REFUSED
    assert "which a unit of systemd does not have" in done.output
    assert installed == {}


def test_variables_that_only_this_terminal_has() -> None:
    mine = {"AWS_ACCESS_KEY_ID": "a", "OS_USERNAME": "b", "HOME": "/root"}
    assert only_here("s3:s3.example/backups", mine) == ["AWS_ACCESS_KEY_ID"]
    assert only_here("swift:backups:/", mine) == ["OS_USERNAME"]
    assert only_here("/srv/backups", mine) == []
    assert only_here("sftp:a@b:/srv", mine) == []


def test_what_a_backup_holds_is_shown_with_sizes(call: Any, tmp_path: Path) -> None:
    group = {"files": 12, "bytes": 34_000, "databases": {"nova": 3 << 20, "nova_api": 1 << 20}}
    host = {"files": 1, "bytes": 10, "databases": {}}
    made = Backup(
        name="controller-1",
        cloud="my cloud",
        host="controller",
        taken_at=1.0,
        seconds=9.0,
        snapshots={"files": "1234"},
        sizes={"files": 40_000},
        added={"files": 30},
        files=13,
        packages=735,
        contents={"nova": group, "the host itself": host},
    )
    Catalogue(tmp_path / "backups" / "catalogue").write(made)
    lines = call("show", "controller").output.splitlines()
    assert lines[0].startswith("TAKEN: controller-1, of controller")
    assert lines[1:] == [
        "  13 files; the list of 735 installed packages",
        "  nova              12 files   33.2 KiB   databases: nova 3.0 MiB, nova_api 1.0 MiB",
        "  the host itself     1 file       10 B",
        "  stored:",
        "  files        39.1 KiB, 30 B of it new (snapshot 1234)",
        "  not verified yet: backstay backup verify controller-1",
    ]
