"""A journal that an older version has written is upgraded where it is opened."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstay.journal.database import Database
from backstay.journal.migrations import Schema
from backstay.journal.records import JournalError
from backstay.journal.store import Store
from backstay.watch.act.approvals import approve
from backstay.watch.incidents.incident import Kind
from backstay.watch.incidents.migrations import SCHEMA
from backstay.watch.incidents.notification import Delivery, NotificationEvent
from backstay.watch.incidents.record import resolved
from backstay.watch.incidents.store import WatchStore
from tests.watch.altered import altered

OLD = Path(__file__).parents[1] / "fixtures" / "old_version"
IMPORT = "from backstay.watch.incidents.store import WatchStore"
OPEN = "WatchStore({url!r}, 'lab').incidents()"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return Path(shutil.copy(OLD / "journal.sqlite", tmp_path / "journal.db"))


@pytest.fixture
def store(journal: Path) -> Iterator[WatchStore]:
    opened = WatchStore(f"sqlite:///{journal}", "lab")
    yield opened
    opened.close_database()


def rows(journal: Path, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(journal)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def tables(journal: Path) -> set[object]:
    return {name for (name,) in rows(journal, "SELECT name FROM sqlite_master WHERE type='table'")}


def test_every_notification_is_there_with_its_id_and_its_state(
    journal: Path, store: WatchStore
) -> None:
    old = {row[0]: row for row in rows(journal, "SELECT id, channel, state, word FROM tellings")}
    new = {one.id: one for one in store.notifications()}
    assert set(new) == set(old)
    assert len(new) == 18
    assert all((one.channel, one.state) == old[one.id][1:3] for one in new.values())
    assert new["1.opened.0.board"].event is NotificationEvent.OPENED
    assert new["3.asked.1.board"].event is NotificationEvent.APPROVAL_REQUESTED
    assert new["3.closed.0.pager"].event is NotificationEvent.RESOLVED
    assert new["3.closed.0.pager"].state is Delivery.FAILED


def test_only_what_was_waiting_before_is_still_to_be_sent(store: WatchStore) -> None:
    assert [one.id for one in store.notifications(unsent=True)] == ["2.opened.0.pager"]


def test_incidents_and_their_timelines_are_there(store: WatchStore) -> None:
    found = {one.id: one for one in store.incidents()}
    assert {number: one.closed is None for number, one in found.items()} == {
        1: False,
        2: True,
        3: False,
        4: True,
    }
    kinds = [line.kind for line in found[3].timeline]
    assert kinds == ["opened", "approval_requested", "updated", "resolved"]
    assert [line.kind for line in found[4].timeline].count("blocked") == 2
    assert found[3].run == "replace-7"


def test_an_open_incident_of_before_is_resolved_and_that_is_sent_once(store: WatchStore) -> None:
    altered(store, 4, lambda it: resolved(it, at=1796003300.0, text="runs", channels=["board"]))
    altered(store, 1, lambda it: resolved(it, at=1796003300.0, text="runs", channels=["board"]))
    new = [one.id for one in store.notifications(unsent=True)]
    assert new == ["2.opened.0.pager", "4.resolved.0.board"]


def test_the_watchs_history_and_the_runs_are_there(journal: Path, store: WatchStore) -> None:
    assert len(store.history(since=0)) == 64
    assert len(store.approvals(3)) == 1
    runs = Store(f"sqlite:///{journal}")
    assert runs.runs()[0].id == "reboot-9"
    versions = dict(rows(journal, "SELECT part, version FROM schema_versions"))
    assert versions["watch"] == SCHEMA.version
    assert "tellings" not in tables(journal)


def test_a_code_that_was_sent_before_approves_the_plan(tmp_path: Path) -> None:
    journal = shutil.copy(OLD / "journal-approval-waiting.sqlite", tmp_path / "journal.db")
    store = WatchStore(f"sqlite:///{journal}", "lab")
    now = 1796006638.09 - 60
    assert store.waiting(now=now) == {3: ("replace-7", 1796006638.092615)}
    assert approve(store, "R6CS-TV5E-WHLA-E3FD", by="ann", now=now) == "replace-7"


def test_kinds_of_causes_are_renamed_with_their_key(journal: Path) -> None:
    db = sqlite3.connect(journal)
    db.execute(
        "UPDATE incidents SET key = 'cut-off-here', "
        "cause = json_set(cause, '$.key', 'cut-off-here', '$.kind', 'cut-off-here') WHERE id = 2"
    )
    db.execute("UPDATE incidents SET cause = json_set(cause, '$.kind', 'agent-deaf') WHERE id = 4")
    db.commit()
    db.close()
    store = WatchStore(f"sqlite:///{journal}", "lab")
    isolated, agents = store.incident(2), store.incident(4)
    assert isolated is not None
    assert agents is not None
    assert (isolated.cause.kind, isolated.cause.key) == (
        Kind.MONITORING_HOST_ISOLATED,
        "monitoring-host-isolated",
    )
    assert agents.cause.kind is Kind.AGENT_NOT_PROCESSING
    assert agents.cause.key == "service:controller/nova"


def test_opening_again_changes_nothing(journal: Path, store: WatchStore) -> None:
    before = store.everything()
    store.close_database()
    with journal.open("rb") as file:
        content = file.read()
    again = WatchStore(f"sqlite:///{journal}", "lab")
    assert again.everything() == before
    again.close_database()
    assert journal.read_bytes() == content


def test_what_an_older_watch_writes_meanwhile_is_moved_at_the_next_opening(
    journal: Path, store: WatchStore
) -> None:
    store.incidents()
    store.close_database()
    db = sqlite3.connect(journal)
    db.execute(
        "CREATE TABLE tellings (id PRIMARY KEY, incident, channel, word, state, attempts, made, "
        "next, sent, error)"
    )
    late = ("4.closed.0.board", 4, "board", "closed", "waiting", 0, 1.0, 1.0, None, "")
    db.execute("INSERT INTO tellings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", late)
    db.commit()
    db.close()
    found = {one.id: one for one in WatchStore(f"sqlite:///{journal}", "lab").notifications()}
    assert len(found) == 19
    assert found["4.closed.0.board"].event is NotificationEvent.RESOLVED
    assert "tellings" not in tables(journal)


def test_processes_that_start_together_upgrade_once(journal: Path) -> None:
    code = f"{IMPORT}; {OPEN.format(url=f'sqlite:///{journal}')}"
    starting = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in starting] == [0, 0, 0, 0]
    assert rows(journal, "SELECT count(*) FROM notifications") == [(18,)]


@pytest.mark.parametrize("milliseconds", range(0, 200, 25))
def test_a_killed_upgrade_leaves_the_old_or_the_new(journal: Path, milliseconds: int) -> None:
    code = f"{IMPORT}; print(flush=True); {OPEN.format(url=f'sqlite:///{journal}')}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(milliseconds / 1000)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    there = tables(journal)
    assert ("tellings" in there) != ("notifications" in there)
    table = "tellings" if "tellings" in there else "notifications"
    assert rows(journal, f"SELECT count(*) FROM {table}") == [(18,)]
    assert len(WatchStore(f"sqlite:///{journal}", "lab").notifications()) == 18


def test_an_upgrade_that_fails_leaves_the_old(journal: Path, store: WatchStore) -> None:
    def fails(db: sa.Connection) -> None:
        SCHEMA.migrations[1](db)
        raise sa.exc.OperationalError("", None, Exception("disk is full"))

    broken = Schema(
        part="watch",
        version=2,
        tables=SCHEMA.tables,
        oldest="incidents",
        migrations={1: fails},
        dropped=SCHEMA.dropped,
    )
    with (
        pytest.raises(JournalError, match="disk is full"),
        Database(f"sqlite:///{journal}", broken).read("reading"),
    ):
        pass
    assert rows(journal, "SELECT count(*) FROM tellings") == [(18,)]
    assert "notifications" not in tables(journal)
    assert len(store.notifications()) == 18


def test_a_journal_of_a_newer_version_is_refused(journal: Path, store: WatchStore) -> None:
    store.incidents()
    store.close_database()
    db = sqlite3.connect(journal)
    db.execute("UPDATE schema_versions SET version = version + 1 WHERE part = 'watch'")
    db.commit()
    db.close()
    with pytest.raises(JournalError) as caught:
        WatchStore(f"sqlite:///{journal}", "lab").incidents()
    assert "a newer version of Backstay has written it" in caught.value.came_back
    assert "version 3, and this version reads up to 2" in caught.value.came_back
    assert "use that version" in caught.value.remedy


def test_a_new_journal_has_the_newest_version_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    assert WatchStore(url, "lab").incidents() == []
    assert rows(tmp_path / "journal.db", "SELECT * FROM schema_versions") == [("watch", 2)]
