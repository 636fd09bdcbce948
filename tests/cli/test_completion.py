"""What the shell completes, and that it is silent where nothing can be read."""

import time
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import BashComplete

from backstay.backup.catalogue import Backup, Catalogue
from backstay.cli.main import backstay
from backstay.journal.plan import Plan, Step
from backstay.journal.store import Store

CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
  compute1: {address: 192.0.2.12, roles: [compute]}
  spare1: {address: 192.0.2.13, roles: [spare]}
windows:
  night: {start: '03:00', duration: 2h}
backup: {folder: backups}
watch: {channels: {pager: {webhook: {url: 'http://127.0.0.1:1/x'}}}}
"""


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_CLOUD", str(tmp_path / "cloud.yaml"))
    (tmp_path / "cloud.yaml").write_text(CLOUD)

    def run(*words: str) -> list[str]:
        shell = BashComplete(backstay, {}, "backstay", "_BACKSTAY_COMPLETE")
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]

    return run


def test_names_of_the_cloud(complete: Any) -> None:
    assert complete("reboot", "") == ["controller", "compute1", "spare1"]
    assert complete("reboot", "controller", "co") == ["compute1"]
    assert complete("impact", "co") == ["controller", "compute1"]
    assert complete("reboot", "compute1", "--window", "") == ["night"]
    assert "healthy" in complete("reboot", "compute1", "--skip-gate", "")
    assert complete("replace", "controller", "--with", "") == ["spare1"]
    assert complete("spare", "status", "") == ["spare1"]
    assert complete("watch", "test", "") == ["pager"]
    assert complete("plan", "reboot", "spa") == ["spare1"]


def test_runs_and_backups(complete: Any, tmp_path: Path) -> None:
    step = Step(id="x", action="x", target="controller", does="x", bound=1.0)
    plan = Plan(runbook="reboot", cloud="lab", targets=("controller",), steps=(step,))
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    runs = [store.create(plan), store.create(plan)]
    assert complete("runs", "show", "") == runs[::-1]
    assert complete("runs", "resume", "reboot-1") == ["reboot-1"]
    backup = Backup(name="controller-1", cloud="lab", host="controller", taken_at=1.0, seconds=1.0)
    Catalogue(tmp_path / "backups" / "catalogue").write(backup)
    assert complete("backup", "show", "cont") == ["controller", "controller-1"]
    assert complete("replace", "controller", "--backup", "") == ["controller-1"]


def test_commands_and_options(complete: Any) -> None:
    assert complete("backup", "st") == ["stream"]
    assert "--dry-run" in complete("reboot", "--d")


def test_nothing_and_no_noise_where_nothing_can_be_read(
    complete: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", "sqlite:////proc/nowhere/journal.db")
    assert complete("runs", "show", "") == []
    (tmp_path / "cloud.yaml").write_text("{{{")
    for words in (["reboot", ""], ["backup", "show", ""], ["reboot", "x", "--window", ""]):
        assert complete(*words) == []
    (tmp_path / "cloud.yaml").unlink()
    assert complete("reboot", "") == []
    assert capfd.readouterr() == ("", "")


def test_it_is_quick(complete: Any) -> None:
    complete("reboot", "")  # imports
    started = time.monotonic()
    complete("reboot", "")
    assert time.monotonic() - started < 1.0
