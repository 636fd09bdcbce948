"""A journal with damaged rows: an error names the run, and the other runs are read all the same."""

import contextlib
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.errors import BackstayError
from backstay.journal.plan import Plan, Step
from backstay.journal.records import DamagedRun, JournalError, RunState
from backstay.journal.store import Store
from backstay.runbooks.replace.given_up import is_proved_off, refuse_damaged

STEPS = ("look", "work")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a journal with three runs: done, failed, running."""
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_DEBUG", "0")
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    for end in (RunState.DONE, RunState.FAILED, None):
        steps = tuple(
            Step(id=f"a.{name}", action=name, target="a", does=f"to {name}", bound=9.0)
            for name in STEPS
        )
        name = store.create(Plan(runbook="trial", cloud="lab", targets=("a",), steps=steps))
        claim = store.take(name, ["lab/a"])
        store.start(claim, "a.look")
        store.finish(claim, "a.look", {"summary": "seen", "number": 3}, text="seen")
        store.start(claim, "a.work")
        if end is RunState.FAILED:
            error = BackstayError("working", came_back="no", remedy="later")
            store.fail(claim, "a.work", error)
        if end is not None:
            store.end(claim, end)
    store.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode=DELETE")
    return tmp_path / "journal.db"


def damage(file: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(file) as db:
        db.execute(statement, values)


def call(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(backstay, words)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    for text in (done.stdout, done.stderr):
        assert "Traceback" not in text
        assert "an error in Backstay itself" not in text
    return done.exit_code, done.stdout, done.stderr


BAD_JSON = ["", "{", "null", "[]", "3", '"x"', "{}", "[" * 5000, b"\xff\xfe", '{"a": NaN}', None]
PLAN = {"runbook": "trial", "cloud": "lab", "targets": ["a"], "steps": [], "settings": {}}
STEP = {"id": "a.look", "action": "x", "target": "a", "does": "y", "bound": 1}
BAD_PLANS = [
    PLAN | {"steps": [{}]},
    PLAN | {"steps": 3},
    PLAN | {"steps": None},
    PLAN | {"targets": "a"},
    PLAN | {"targets": [3]},
    PLAN | {"settings": []},
    PLAN | {"settings": None},
    PLAN,  # none of its steps
    PLAN | {"steps": [STEP | {"bound": "soon"}]},
    PLAN | {"steps": [STEP] * 2},
]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("plan", value) for value in BAD_JSON if value is not None),
        *(("plan", json.dumps(plan)) for plan in BAD_PLANS),
        ("state", "asleep"),
        ("state", b"\xff"),
        ("made", "yesterday"),
        ("began", "soon"),
        ("who", 3),
    ],
)
def test_a_damaged_run_is_named_and_the_others_are_listed(
    file: Path, column: str, value: Any
) -> None:
    damage(file, f"UPDATE runs SET {column} = ? WHERE id = 'trial-2'", value)
    status, out, err = call("runs", "list")
    assert "trial-1" in out
    assert "trial-3" in out
    if column != "who":  # a number is text in a column of text
        assert status == ExitStatus.WARNING
        assert "reading run trial-2 in the journal: it is damaged: " in err
        assert "what to do: " in err
        assert [run["id"] for run in json.loads(call("runs", "list", "-o", "json")[1])] == [
            "trial-3",
            "trial-1",
        ]
        status, _, err = call("runs", "show", "trial-2")
        assert status == ExitStatus.UNKNOWN
        assert "run trial-2" in err
        with pytest.raises(DamagedRun):
            Store(f"sqlite:///{file}").runs()
    assert call("runs", "show", "trial-1")[0] == ExitStatus.OK


@pytest.mark.parametrize("column", ["result", "error"])
@pytest.mark.parametrize("value", [value for value in BAD_JSON if value is not None])
def test_a_damaged_step(file: Path, column: str, value: Any) -> None:
    damage(file, f"UPDATE steps SET {column} = ? WHERE run = 'trial-2' AND position = 1", value)
    _, out, _ = call("runs", "list")
    assert "trial-1" in out
    for form in ("table", "json", "html"):
        status, out, err = call("runs", "show", "trial-2", "-o", form)
        if status == ExitStatus.OK:  # nothing but a reason that is missing
            assert column == "result" or "not recorded" in out
        else:
            assert "trial-2" in err


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE steps SET state = ? WHERE run = 'trial-2'", "asleep"),
        ("UPDATE steps SET attempts = ? WHERE run = 'trial-2'", "many"),
        ("UPDATE steps SET began = ? WHERE run = 'trial-2'", "then"),
        ("UPDATE steps SET id = ? WHERE run = 'trial-2' AND position = 1", "other"),
        ("DELETE FROM steps WHERE run = 'trial-2' AND position = ?", 1),
        ("UPDATE events SET at = ? WHERE run = 'trial-2'", "then"),
        ("UPDATE events SET text = ? WHERE run = 'trial-2'", b"\xff\x1b[2J"),
        ("UPDATE schema_versions SET version = ?", "x"),
        ("UPDATE schema_versions SET version = ?", -1),
        ("UPDATE schema_versions SET version = ?", 99),
    ],
)
def test_other_damage(file: Path, statement: str, value: Any) -> None:
    damage(file, statement, value)
    for words in (
        ["list"],
        ["show", "trial-2"],
        ["show", "2"],
        ["show", "²"],
        ["show", "9" * 5000],
    ):
        status, out, err = call("runs", *words)
        assert status != ExitStatus.OK or "\x1b" not in out
        assert status == ExitStatus.OK or "what to do: " in err


def test_what_is_over_hinders_nobody(file: Path) -> None:
    damage(file, "UPDATE runs SET plan = '{' WHERE id = 'trial-1'")
    store = Store(f"sqlite:///{file}")
    assert [run.id for run in store.runs()] == ["trial-3", "trial-2"]
    with pytest.raises(DamagedRun):
        store.run("trial-1")


def test_one_that_is_not_over_can_be_ended(file: Path) -> None:
    damage(file, "UPDATE runs SET plan = '{' WHERE id = 'trial-3'")
    store = Store(f"sqlite:///{file}")
    with pytest.raises(DamagedRun, match="trial-3"):
        store.runs()
    assert call("runs", "abandon", "trial-3", "--dry-run")[0] == ExitStatus.OK
    assert call("runs", "abandon", "trial-3", "--yes")[0] == ExitStatus.OK
    assert [run.id for run in store.runs()] == ["trial-2", "trial-1"]
    assert call("runs", "abandon", "trial-3", "--yes")[0] == ExitStatus.UNKNOWN


def test_a_damaged_replacement_may_have_a_spare_that_is_on(file: Path) -> None:
    damage(file, "UPDATE runs SET plan = '{' WHERE id = 'trial-3'")
    for table, column in (("runs", "id"), ("steps", "run"), ("events", "run")):
        damage(file, f"UPDATE {table} SET {column} = 'replace-3' WHERE {column} = 'trial-3'")
    store = Store(f"sqlite:///{file}")
    _, damaged = store.readable_runs()
    with pytest.raises(BackstayError, match="may have given its spare"):
        refuse_damaged(store, damaged, "controller")
    status, _, err = call("runs", "abandon", "replace-3", "--yes")
    assert status == ExitStatus.REFUSED
    assert "--confirm-fenced SPARE" in err
    confirmed = ("runs", "abandon", "replace-3", "--yes", "--confirm-fenced", "spare1")
    assert call(*confirmed)[0] == ExitStatus.OK
    assert is_proved_off(store, "replace-3")
    _, damaged = store.readable_runs()
    refuse_damaged(store, damaged, "controller")


def test_a_file_that_is_no_database(file: Path) -> None:
    for content in (b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000):
        file.write_bytes(content)
        status, _, err = call("runs", "list")
        assert status == ExitStatus.UNKNOWN
        assert "from a copy of it" in err


def test_mutated_files_are_read_or_refused(file: Path) -> None:
    """Nothing but JournalError comes of a file with flipped, cut or repeated bytes."""
    whole, choose = file.read_bytes(), random.Random(7)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(choose.randint(1, 20)):
            at = choose.randrange(100, len(data))
            data[at : at + choose.randint(0, 3)] = choose.randbytes(choose.randint(0, 3))
        file.write_bytes(data)
        store = Store(f"sqlite:///{file}")
        for ask in (
            store.readable_runs,
            lambda store=store: store.run("2"),
            lambda store=store: store.events("trial-2"),
            lambda store=store: store.holder("lab/a"),
        ):
            with contextlib.suppress(JournalError):
                ask()
        store.close()


def test_a_reason_that_cannot_be_written_as_it_is(file: Path) -> None:
    store = Store(f"sqlite:///{file}")
    plan = store.run("1").plan
    name = store.create(plan, reason="caf\udce9 \x00", ticket="\ud800")
    assert store.run(name).reason == "caf\ufffd \ufffd"
