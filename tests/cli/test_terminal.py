"""Text of a host never reaches a terminal raw, by whatever command it is printed."""

import io
import json
import logging
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from backstay.backup.catalogue import Backup, Catalogue, State
from backstay.cli.main import backstay as command
from backstay.cli.output import terminal
from backstay.cli.output.findings import Report, findings_document, findings_table, plugin_line
from backstay.cli.output.run import Live, plan_table
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity
from backstay.journal.engine import Progress
from backstay.journal.plan import Plan, Step
from backstay.journal.records import EventKind
from backstay.journal.store import Store
from backstay.maintenance.refusal import GatesRefused, Refusal

HOSTILE = (
    "name\x1b]0;title\x07\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b[H\x1b[32mOK\x1b[0m\x1b[8m"
    "\x9b31m\x9d0;c1\x9c\u202egnirts\u2066\u200b\ufeff\x08\x08\x7f\r\nOK: all is well\ud800\x00"
)
# All that a terminal obeys or does not show, but for the colours that Backstay itself sets.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ud800-\udfff]|\x1b(?!\[[0-9;]*m)"
)
HIDDEN = re.compile(r"\x1b\[(8m|32mOK)")


def harmless(text: str) -> bool:
    return OBEYED.search(text) is None and HIDDEN.search(text) is None


def test_the_measure() -> None:
    assert not harmless(HOSTILE)
    assert not harmless("\x1b[8m")
    assert harmless("\x1b[1mbold\x1b[0m, Zürich\n")


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as on a terminal: colours are not taken out at the end."""
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.setenv("BACKSTAY_CLOUD", str(tmp_path / "cloud.yaml"))
    monkeypatch.setenv("BACKSTAY_DEBUG", "0")
    (tmp_path / "cloud.yaml").write_text(
        f"name: lab\nbackup: {{folder: {tmp_path}/backups}}\ncredentials: {{openrc: openrc}}\n"
        "hosts:\n  controller: {address: 192.0.2.11, roles: [controller]}\n"
    )

    def called(*words: str) -> str:
        done = CliRunner().invoke(command, words, color=True)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert "Traceback" not in done.output
        assert done.output
        return done.output

    return called


def a_plan(runbook: str) -> Plan:
    step = Step(id="a.x", action="x", target=HOSTILE, does=HOSTILE, bound=1)
    return Plan(runbook=runbook, cloud="lab", targets=(HOSTILE, "b"), steps=(step,))


@pytest.mark.parametrize("runbook", ["trial", "reboot", "replace"])
@pytest.mark.parametrize(
    "words",
    [
        ["runs", "list"],
        ["runs", "list", "-o", "json"],
        ["runs", "show", "1"],
        ["runs", "show", "1", "-o", "json"],
        ["runs", "show", "1", "-o", "html"],
        ["runs", "resume", "1", "--dry-run"],
        ["runs", "abandon", "1", "--dry-run"],
        ["runs", "show", HOSTILE.replace("\x00", "").replace("\ud800", "")],
    ],
)
def test_runs(call: Any, tmp_path: Path, words: list[str], runbook: str) -> None:
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    text = HOSTILE.replace("\ud800", "")
    plan = a_plan(runbook)
    run = store.create(plan, reason=text, ticket=text)
    claim = store.take(run, [])
    store.start(claim, plan.steps[0].id)
    store.progress(claim, plan.steps[0].id, text)
    error = BackstayError(HOSTILE, came_back=HOSTILE, remedy=HOSTILE)
    error.attempted, error.came_back, error.remedy = text, text, text  # as an older version did
    store.fail(claim, plan.steps[0].id, error)
    store.close()
    output = call(*words)
    assert harmless(output)
    if words[-1] == "json":
        json.loads(output)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    "words",
    [["list"], ["list", "-o", "json"], ["show", "one"], ["show", "one", "-o", "json"]],
)
def test_backups(call: Any, tmp_path: Path, words: list[str], state: State) -> None:
    made = Backup(
        name="one",
        cloud="lab",
        host=HOSTILE,
        taken_at=1.0,
        seconds=1.0,
        state=state,
        snapshots={HOSTILE: HOSTILE},
        sizes={HOSTILE: 1},
        added={HOSTILE: 1},
        contents={HOSTILE: {"files": 1, "bytes": 1, "databases": {HOSTILE: 1}}},
        facts={
            "position": [HOSTILE, "1"],
            "rows_before": {HOSTILE: 1},
            "version": HOSTILE,
            "release": {"unknown": {HOSTILE: HOSTILE}},
        },
        proof={"at": 1.0, "restore_seconds": 1.0, "problems": [HOSTILE]},
    )
    Catalogue(tmp_path / "backups" / "catalogue").write(made)
    assert harmless(call("backup", *words))


@pytest.mark.parametrize(
    "error",
    [
        BackstayError(HOSTILE, came_back=HOSTILE, remedy=HOSTILE),
        click.UsageError(HOSTILE),
        click.BadParameter(HOSTILE, param_hint=HOSTILE),
        click.ClickException(HOSTILE),
        ValueError(HOSTILE),
        SystemExit(HOSTILE),
    ],
)
@pytest.mark.parametrize("debug", ["0", "1"])
def test_errors(
    call: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, debug: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("backstay.cli.runs.open_store", fails)
    monkeypatch.setenv("BACKSTAY_DEBUG", debug)
    done = CliRunner().invoke(command, ["runs", "list"], color=True)
    assert done.exit_code in {3, 64}
    assert done.output
    assert harmless(done.output)
    assert "OK: all is well" not in done.output.splitlines() or debug == "1"


def test_an_error_is_clean_and_one_line_whoever_prints_it() -> None:
    error = BackstayError(HOSTILE, came_back=HOSTILE, remedy=HOSTILE)
    for text in (error.attempted, error.came_back, error.remedy, str(error)):
        assert harmless(text)
        assert "\n" not in text
    refused = GatesRefused("x", [Refusal(gate="g", reason=HOSTILE, remedy=HOSTILE)] * 2)
    assert harmless(refused.came_back)
    assert len(refused.came_back.splitlines()) == 5


def printed(text: str) -> str:
    @click.command()
    def prints() -> None:
        terminal.echo(text, nl=False)

    return CliRunner().invoke(prints, color=True).output


@pytest.mark.parametrize("verbose", [False, True])
def test_findings(verbose: bool) -> None:
    findings = [
        Finding(
            host=HOSTILE,
            service=HOSTILE,
            subject=HOSTILE,
            severity=severity,
            evidence=HOSTILE,
            remedy=HOSTILE,
            seconds=1.0,
        )
        for severity in Severity
    ]
    report = Report(cloud=HOSTILE, at=datetime.now(UTC), seconds=1.0, findings=findings)
    table = printed(findings_table(report, verbose=verbose))
    assert harmless(table)
    assert "\x1b[31m" in table, "its own colours are there"
    assert harmless(printed(plugin_line(report)))
    document = printed(findings_document(report))
    assert harmless(document)
    json.loads(document)


def test_our_colours_cannot_be_copied() -> None:
    shown = printed(f"{terminal.style('good', fg='green')} \x1b[32mbad\x1b[0m")
    assert (
        shown == "\x1b[32mgood\x1b[0m \N{REPLACEMENT CHARACTER}[32mbad\N{REPLACEMENT CHARACTER}[0m"
    )
    assert click.unstyle(terminal.style("good", fg="green", bold=True)) == "good"


def test_plans_and_questions() -> None:
    assert harmless(printed(plan_table(a_plan("trial"))))

    @click.command()
    def asks() -> None:
        terminal.confirm(HOSTILE)
        terminal.prompt(HOSTILE)
        terminal.redraw(HOSTILE)

    output = CliRunner().invoke(asks, input="y\nx\n", color=True).output
    assert harmless(output.replace("\r\x1b[K", ""))


def test_what_writes_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(terminal.ErrorStream())
    handler.emit(logging.LogRecord("x", logging.ERROR, "x", 1, HOSTILE, None, None))
    assert harmless(capsys.readouterr().err)


def test_progress_of_a_run_on_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_all(Live(a_plan("trial")))
    assert harmless(capsys.readouterr().out)


def show_all(live: Live) -> None:
    step = a_plan("trial").steps[0]
    error = BackstayError(HOSTILE, came_back=HOSTILE, remedy=HOSTILE)
    for kind in (EventKind.STARTED, EventKind.PROGRESS, EventKind.DONE, EventKind.STARTED):
        live(Progress(step=step, kind=kind, text=f"{HOSTILE} [bold]markup[/nothing]"))
    live(Progress(step=step, kind=EventKind.FAILED, text=HOSTILE, error=error))
    live.close()


ON_A_TERMINAL = """
import time
from backstay.cli.output.terminal import waiting
from tests.cli.test_terminal import HOSTILE, Live, a_plan, show_all
show_all(Live(a_plan("trial")))
with waiting(HOSTILE):
    time.sleep(0.3)
"""
# What rich draws a line anew with: the cursor shown and hidden, moved up, lines cleared.
_RICH = re.compile(r"\x1b\[(\?25[lh]|1A|2K)")


def test_progress_of_a_run_on_a_terminal() -> None:
    drawn = _RICH.sub("", on_a_terminal(ON_A_TERMINAL)).replace("\r", "")
    assert "[bold]markup[/nothing]" in drawn
    assert harmless(drawn)


def on_a_terminal(program: str) -> str:
    here, there = os.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"}
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=there,
        stdout=there,
        stderr=there,
        cwd=root,
        env=environment,
    )
    os.close(there)
    text = b"".join(pieces(here))
    assert process.wait(30) == 0, text.decode(errors="replace")
    os.close(here)
    return text.decode(errors="surrogateescape")


def pieces(file: int) -> Iterator[bytes]:
    """Give what is written to a terminal until all who have it have ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([file], [], [], 1)[0]:
            continue
        try:
            data = os.read(file, 1 << 16)
        except OSError:  # EIO: closed
            return
        if not data:
            return
        yield data


def test_a_text_that_is_no_text_of_a_terminal_stays_as_it_is() -> None:
    text = "Zürich → 東京\tπ\n"
    assert terminal.harmless(text) == text
    stream = io.StringIO()
    stream.write(terminal.harmless(text))
    assert stream.getvalue() == text
