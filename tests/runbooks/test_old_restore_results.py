"""What an older version wrote about restores and replacements is read by this one."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from backstay.journal.records import RunState
from backstay.journal.store import Store
from backstay.runbooks.replace import steps as replace
from backstay.runbooks.replace.report import reports
from backstay.runbooks.restore import steps as restore

OLD = Path(__file__).parents[1] / "fixtures" / "old_version" / "journal.sqlite"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{shutil.copy(OLD, tmp_path / 'journal.db')}")


def test_the_results_of_a_restore(store: Store) -> None:
    run = store.run("restore-5")
    by_name = {kind.name: kind for kind in restore.KINDS}
    read: dict[str, Any] = {
        step.action: by_name[step.action].result.from_json(record.result)
        for step, record in zip(run.plan.steps, run.steps, strict=True)
    }
    assert read["look"] == restore.HostInspected(
        mark="20261130-014229",
        data="/var/lib/mysql",
        owner="mysql",
        beside="/var/lib/mysql.backstay-20261130-014229",
        zstd=True,
    )
    assert read["fetch"] == restore.FilesFetched(seconds=0.7)
    assert read["send"].summary == "0 files differ from what is there"
    assert read["works"] == restore.Waited(seconds=3.1)


def test_a_replacement_that_was_never_started_keeps_its_settings(store: Store) -> None:
    run = store.run("replace-7")
    assert run.state is RunState.ABANDONED
    assert run.plan.settings["confirmed_fenced"] is False
    assert "vouched" not in run.plan.settings
    kinds = {kind.name for kind in (*replace.KINDS, *restore.KINDS)}
    backup = {"repository", "bring", "files", "record", "verify"}
    assert {step.action for step in run.plan.steps} <= kinds | backup
    assert reports(run) == []


def test_events_have_the_names_of_this_version_and_none_is_lost(store: Store) -> None:
    before = sqlite3.connect(OLD).execute("SELECT kind, text FROM events ORDER BY number")
    renamed = {"begins": "started", "says": "progress"}
    runs = reversed(store.runs(limit=99))
    now = [(event.kind, event.text) for run in runs for event in store.events(run.id)]
    assert sorted(now) == sorted((renamed.get(kind, kind), text) for kind, text in before)


def test_the_keys_of_older_results() -> None:
    fenced = replace.Fenced.from_json({"how": "word", "told": "vouched for by a person"})
    assert (fenced.how, fenced.summary) == (replace.BY_PERSON, "vouched for by a person")
    watching = {"apis": {"identity": "http://a/"}, "apis_by": "reboot-3", "silent": ["demo-9"]}
    confirmed = replace.ConfirmedDead.from_json({"verdict": "dead", "watching": watching})
    assert confirmed.recording is not None
    assert confirmed.recording.silent == ("demo-9",)
    made = {"remarks": [], "replayed": {"losses": ["lost: nothing"]}, "there": True}
    rebuilt = restore.DatabasesRebuilt.from_json(made)
    assert rebuilt.on_host
    assert rebuilt.replayed.losses == ("lost: nothing",)
    series = {
        "kind": "api",
        "what": "identity",
        "since": 1.0,
        "until": 9.0,
        "asked": 40,
        "unanswered": 5,
        "outages": [{"begins": 2.0, "ends": None}],
        "down": 7.0,
    }
    taken = {"written": True, "watched": [series], "watched_since": 1.0, "kept": "/etc/c.before"}
    updated = replace.InventoryUpdated.from_json(taken)
    assert updated.recorded_since == 1.0
    assert updated.recorded[0].outages[0].ends is None
