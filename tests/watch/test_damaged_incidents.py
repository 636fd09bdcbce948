"""A journal with a damaged incident: the watch reads the others, and names that one."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.log import IncidentLog
from backstay.watch.incidents.notification import NotificationEvent
from backstay.watch.incidents.store import BUSY, WatchStore
from tests.watch.causes import CAUSE, OTHER


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a journal with two open incidents, 1 and 2, whose notifications are not sent."""
    store = store_of(tmp_path / "journal.db")
    store.open(CAUSE, began=1.0, at=2.0, channels=["mail"])
    store.open(OTHER, began=3.0, at=4.0, channels=["mail"])
    store.close_database()
    return tmp_path / "journal.db"


def store_of(file: Path) -> WatchStore:
    return WatchStore(f"sqlite:///{file}", "lab", busy=BUSY)


def damage(file: Path, statement: str, *values: Any) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute(statement, values)


def started(file: Path) -> IncidentLog:
    log = IncidentLog(store_of(file), channels=lambda _: ["mail"], keep=86400.0)
    asyncio.run(log.start())
    return log


DAMAGED = [
    ("cause", "{"),
    ("cause", "[]"),
    ("cause", "null"),
    ("cause", '{"key": "a"}'),
    ("cause", "[" * 100_000),
    ("began", "in the morning"),
    ("opened", b"\xff\x00"),
    ("closed", "never"),
    ("began", 1e308),  # no calendar has that
    ("closed", -5.0),
    ("run", b"\xff"),
]


@pytest.mark.parametrize(("column", "value"), DAMAGED)
def test_a_damaged_incident_is_one_problem_and_the_others_are_read(
    file: Path, column: str, value: Any
) -> None:
    damage(file, f"UPDATE incidents SET {column} = ? WHERE id = 1", value)
    log = started(file)
    assert [one.cause.key for one in log.open_incidents()] == [OTHER.key]
    [problem] = log.problems
    assert "reading incident 1 in the journal: it is damaged: " in problem
    assert "restore the journal from a copy" in problem
    assert problem.isprintable()
    assert len(problem) < 500
    assert log.writable, "the journal itself works"
    assert [one.id for one in store_of(file).incidents(only_open=True)] == [2]


def test_what_fails_still_opens_one_and_is_notified(file: Path) -> None:
    damage(file, "UPDATE incidents SET cause = '{' WHERE id = 1")

    async def story() -> Incident:
        log = IncidentLog(store_of(file), channels=lambda _: ["mail"], keep=86400.0)
        await log.start()
        opened = await log.open(CAUSE, began=5.0, at=6.0)
        assert await log.open(CAUSE, began=5.0, at=7.0) == opened
        due = [(one.incident, one.event) for one, _ in await log.due(1e12)]
        assert (opened.id, NotificationEvent.OPENED) in due
        await log._meet()
        assert await log.incident(1) is None
        assert log.writable
        await log.close(opened, at=8.0, text="answers again")
        return opened

    opened = asyncio.run(story())
    assert opened.id not in {1, 2}
    kept = store_of(file).incident(opened.id)
    assert kept is not None
    assert kept.closed == 8.0


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("UPDATE incident_events SET at = 'x' WHERE incident = 1", "a line of incident 1"),
        ("UPDATE incident_events SET text = x'ff' WHERE incident = 1", "a line of incident 1"),
        ("UPDATE incident_events SET at = 1e308 WHERE incident = 1", "a line of incident 1"),
        (
            "UPDATE notifications SET next = 1e308 WHERE incident = 1",
            "a notification of incident 1",
        ),
        ("UPDATE notifications SET state = 'x' WHERE incident = 1", "a notification of incident 1"),
        ("UPDATE notifications SET made = 'x' WHERE incident = 1", "a notification of incident 1"),
    ],
)
def test_of_an_incident_what_can_be_read_is_read(file: Path, statement: str, part: str) -> None:
    damage(file, statement)
    log = started(file)
    assert [one.cause.key for one in log.open_incidents()] == [CAUSE.key, OTHER.key]
    assert any(f"reading {part} in the journal" in problem for problem in log.problems)
    assert log.writable


def test_one_that_is_damaged_while_the_watch_runs_is_written_anew(file: Path) -> None:
    async def story() -> None:
        log = IncidentLog(store_of(file), channels=lambda _: ["mail"], keep=86400.0)
        await log.start()
        damage(file, "UPDATE incidents SET cause = '{' WHERE id = 1")
        await log._meet()
        assert log.writable
        await log._meet()
        assert log.problems == ()

    asyncio.run(story())
    kept = store_of(file).incident(1)
    assert kept is not None
    assert kept.cause == CAUSE
