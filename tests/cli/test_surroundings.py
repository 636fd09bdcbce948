"""Commands started by users without a name, without a home, in folders that are gone: words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.cli import surroundings
from backstay.cli.exit_status import ExitStatus

CLOUD = """
credentials: {environment: true}
hosts: {controller: {address: 127.0.0.9, roles: [controller]}}
backup: {folder: b}
bounds: {connect_seconds: 2, host_seconds: 3, api_seconds: 3}
"""
PRELUDE = "import os, pwd\ndef nobody(*_): raise KeyError('no such uid')\n"
NO_USER = f"{PRELUDE}pwd.getpwuid = nobody\n"
UID = "os.geteuid = os.getuid = lambda: 54321\n"
MAIN = "from backstay.cli.main import main; main()"
COMMANDS = [
    ["--version"],
    ["--help"],
    ["check"],
    ["impact", "controller"],
    ["reboot", "controller", "--now", "--dry-run"],
    ["reattach", "--dry-run"],
    ["reconcile"],
    ["backup", "list"],
    ["backup", "stream", "status"],
    ["backup", "create", "--dry-run"],
    ["spare", "status"],
    ["watch", "status"],
    ["runs", "list"],
    ["runs", "show"],
    ["plan", "reboot", "controller", "--now"],
]


def run(
    folder: Path, before: str, words: list[str], **variables: str
) -> subprocess.CompletedProcess[str]:
    (folder / "cloud.yaml").write_text(CLOUD, encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", before + MAIN, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=kept | {"BACKSTAY_CLOUD": str(folder / "cloud.yaml")} | variables,
        timeout=120,
        check=False,
    )


def in_words(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr
    assert "an error in Backstay itself" not in done.stdout + done.stderr
    assert done.returncode in set(ExitStatus)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_user_without_a_name_and_without_a_home(tmp_path: Path, words: list[str]) -> None:
    # Files are still this user's own: only what Python asks about the user says otherwise.
    done = run(tmp_path, NO_USER, words)
    in_words(done)
    assert "has no home" in done.stderr


def test_the_journal_of_nobody_is_asked_for_in_words(tmp_path: Path) -> None:
    done = run(tmp_path, NO_USER + UID, ["runs", "list"])
    in_words(done)
    assert done.returncode == ExitStatus.UNKNOWN
    assert "BACKSTAY_JOURNAL" in done.stderr


@pytest.mark.parametrize("home", ["", "relative", "/proc", "/dev/null", "/nowhere"])
@pytest.mark.parametrize("locale", ["C", "de_DE.UTF-8", "nonsense"])
def test_a_home_that_is_none(tmp_path: Path, home: str, locale: str) -> None:
    done = run(tmp_path, PRELUDE + UID, ["runs", "list"], HOME=home, LC_ALL=locale)
    in_words(done)
    assert not (tmp_path / ".local").exists()
    assert not (tmp_path / "relative").exists()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = "import os, tempfile\nd = tempfile.mkdtemp()\nos.chdir(d)\nos.rmdir(d)\n"
    for words in (["--version"], ["backup", "list"], ["check"]):
        done = run(tmp_path, gone, words, HOME=str(tmp_path))
        in_words(done)
        assert "is gone: paths are taken from / on" in done.stderr


def test_completion_prints_nothing_else(tmp_path: Path) -> None:
    done = run(tmp_path, NO_USER, [], _BACKSTAY_COMPLETE="bash_complete", COMP_WORDS="backstay ")
    assert "has no home" not in done.stderr


def test_who_has_everything_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "anna")
    said: list[str] = []
    surroundings.settle(said.append)
    assert (said, os.environ["HOME"], os.environ["LOGNAME"]) == ([], str(tmp_path), "anna")
