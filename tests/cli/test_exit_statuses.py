"""Every end of the command line has the status of the one table, and a sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.finding import Severity
from tests.cli.test_commands_in_texts import every_command

DOCS = Path(__file__).parents[2] / "docs"
CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.setenv("BACKSTAY_CLOUD", str(tmp_path / "cloud.yaml"))
    monkeypatch.delenv("BACKSTAY_DEBUG", raising=False)
    (tmp_path / "cloud.yaml").write_text(CLOUD)
    return lambda *words: CliRunner().invoke(backstay, words)


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--bogus"],
        ["check", "-o", "nagios", "--bogus"],
        ["check", "contoller"],
        ["observe"],
        ["reboot"],
        ["runs", "abandon", "--limit"],
        [],
    ],
)
def test_called_wrongly(call: Any, words: list[str]) -> None:
    done: Result = call(*words)
    assert done.exit_code == ExitStatus.USAGE
    assert "Usage: backstay" in done.stderr


def test_no_cloud_is_unknown_for_people_and_for_monitoring(call: Any, tmp_path: Path) -> None:
    (tmp_path / "cloud.yaml").unlink()
    done: Result = call("check")
    assert done.exit_code == ExitStatus.UNKNOWN
    assert "  what to do: " in done.stderr
    monitored: Result = call("check", "-o", "nagios")
    assert monitored.exit_code == ExitStatus.UNKNOWN
    assert monitored.stdout.startswith("BACKSTAY UNKNOWN - ")
    assert monitored.stdout.count("\n") == 1


def test_a_journal_that_cannot_be_read_is_unknown(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", "sqlite:////proc/nowhere/journal.db")
    assert call("runs", "list").exit_code == ExitStatus.UNKNOWN


def test_an_unexpected_error_is_a_sentence_and_with_debugging_a_traceback(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("backstay.cli.runs.open_store", fails)
    done: Result = call("runs", "list")
    assert done.exit_code == ExitStatus.UNKNOWN
    assert re.search(
        r"ZeroDivisionError: division by zero \(test_exit_statuses.py:\d+\)", done.stderr
    )
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("BACKSTAY_DEBUG", "1")
    assert "Traceback" in call("runs", "list").stderr


def test_an_interruption(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("backstay.cli.runs.open_store", interrupted)
    assert call("runs", "list").exit_code == ExitStatus.INTERRUPTED


def test_nothing_unfinished_is_refused_and_said(call: Any) -> None:
    done: Result = call("runs", "resume")
    assert done.exit_code == ExitStatus.REFUSED
    assert "refused, nothing has been changed: the journal has no unfinished run" in done.stderr


def test_a_journal_without_runs_is_no_refusal(call: Any) -> None:
    done: Result = call("runs", "show")
    assert done.exit_code == ExitStatus.UNKNOWN
    assert "looking for the newest run: the journal has no runs yet" in done.stderr
    assert "refused" not in done.stderr


def test_the_process_ends_with_the_status() -> None:
    program = Path(sys.executable).with_name("backstay")
    done = subprocess.run([program, "check", "--bogus"], check=False, capture_output=True)
    assert done.returncode == ExitStatus.USAGE
    environment = os.environ | {"BACKSTAY_CLOUD": "/nowhere.yaml"}
    done = subprocess.run([program, "check"], check=False, capture_output=True, env=environment)
    assert done.returncode == ExitStatus.UNKNOWN


def test_every_severity_has_a_status() -> None:
    from backstay.cli.exit_status import of_severity  # noqa: PLC0415

    assert [of_severity(Severity(name)) for name in ("ok", "warning", "failed", "unknown")] == [
        0,
        1,
        2,
        3,
    ]


def test_the_page_has_the_table() -> None:
    text = (DOCS / "exit-statuses.md").read_text()
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(int(one)) for one in ExitStatus]


@pytest.mark.parametrize(
    "path", [" ".join(path) for path, _ in every_command() if path[0] != "lab"]
)
def test_every_command_says_its_statuses_and_has_a_help_for_each_option(path: str) -> None:
    command = {" ".join(names): found for names, found in every_command()}[path]
    assert command.epilog is not None, "its help ends with its exit statuses"
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


CHANGING = {
    "reboot",
    "reattach",
    "reconcile",
    "replace",
    "spare prepare",
    "backup create",
    "backup verify",
    "backup prune",
    "backup restore",
    "backup stream install",
    "backup stream uninstall",
    "backup schedule install",
    "backup schedule uninstall",
    "watch install",
    "watch uninstall",
    "watch approve",
    "runs resume",
    "runs abandon",
}


def test_everything_that_changes_something_has_a_dry_run() -> None:
    found = {
        " ".join(path)
        for path, command in every_command()
        if any("--dry-run" in option.opts for option in command.params)
    }
    assert found >= CHANGING
