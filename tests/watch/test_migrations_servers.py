"""The journal's upgrade on MariaDB and PostgreSQL, with the same rows as in the file."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.journal import migrations
from backstay.journal import tables as journal
from backstay.journal.records import JournalError
from backstay.watch.incidents import tables as watch
from backstay.watch.incidents.notification import NotificationEvent
from backstay.watch.incidents.store import WatchStore
from tests.watch.journal_servers import mariadb, postgresql

OLD = Path(__file__).parents[1] / "fixtures" / "old_version" / "journal.sqlite"
SERVERS = {"mariadb": mariadb, "postgresql": postgresql}

OLD_TABLES = sa.MetaData()
for _table in (*journal.METADATA.sorted_tables, *watch.METADATA.sorted_tables):
    if _table is not watch.NOTIFICATIONS and _table.name not in OLD_TABLES.tables:
        _table.to_metadata(OLD_TABLES)
TELLINGS = sa.Table(
    "tellings",
    OLD_TABLES,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("incident", sa.ForeignKey("incidents.id", ondelete="CASCADE"), index=True),
    *(sa.Column(name, sa.String(20)) for name in ("word", "state")),
    *(sa.Column(name, sa.Float(53)) for name in ("made", "next", "sent")),
    sa.Column("channel", sa.String(100)),
    sa.Column("attempts", sa.Integer),
    sa.Column("error", sa.Text),
)


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    """Give the URL of a database as the old version has left it."""
    engine = sa.create_engine(server)
    old = sa.create_engine(f"sqlite:///file:{OLD}?mode=ro&uri=true")
    there = sa.MetaData()
    there.reflect(engine)
    there.drop_all(engine)
    OLD_TABLES.create_all(engine)
    with old.connect() as reading, engine.begin() as writing:
        for table in OLD_TABLES.sorted_tables:
            rows = [dict(row) for row in reading.execute(sa.select(table)).mappings()]
            writing.execute(sa.insert(table), rows)
    engine.dispose()
    old.dispose()
    return server


def count(url: str, table: str) -> int | None:
    """Return how many rows a table has, None where there is no such table."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as db:
            if not sa.inspect(db).has_table(table):
                return None
            return db.scalar(sa.select(sa.func.count()).select_from(sa.table(table)))
    finally:
        engine.dispose()


def command(url: str) -> list[str]:
    code = (
        "from backstay.watch.incidents.store import WatchStore; print(flush=True); "
        f"WatchStore({url!r}, 'lab').incidents()"
    )
    return [sys.executable, "-c", code]


def test_everything_is_moved(url: str) -> None:
    store = WatchStore(url, "lab")
    found = {one.id: one for one in store.notifications()}
    assert len(found) == 18
    assert found["3.asked.1.board"].event is NotificationEvent.APPROVAL_REQUESTED
    assert [one.id for one in store.notifications(unsent=True)] == ["2.opened.0.pager"]
    third = store.incident(3)
    assert third is not None
    kinds = [line.kind for line in third.timeline]
    assert kinds == ["opened", "approval_requested", "updated", "resolved"]
    store.close_database()
    assert count(url, "tellings") is None


def test_processes_that_start_together_upgrade_once(url: str) -> None:
    starting = [subprocess.Popen(command(url), stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(60) for process in starting] == [0, 0, 0]
    assert (count(url, "notifications"), count(url, "tellings")) == (18, None)


HOLD = {
    "mysql": "SELECT GET_LOCK('backstay.schema', 1)",
    "postgresql": f"SELECT pg_advisory_lock({migrations._LOCK})",
}


def test_an_upgrade_that_does_not_end_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_SECONDS", 1)
    engine, store = sa.create_engine(url), WatchStore(url, "lab")
    with engine.connect() as other:
        other.execute(sa.text(HOLD[engine.dialect.name]))
        waiting = ThreadPoolExecutor(1).submit(store.incidents)
        try:
            with pytest.raises(JournalError) as raised:
                waiting.result(20)
        finally:
            other.invalidate()  # with the connection ends its lock
    engine.dispose()
    assert raised.value.came_back == "another process has been upgrading it for 1 s"
    shows = {"mysql": "SHOW PROCESSLIST", "postgresql": "pg_stat_activity"}
    assert shows[engine.dialect.name] in raised.value.remedy
    assert len(store.incidents()) == 4
    store.close_database()


@pytest.mark.parametrize("milliseconds", [10, 60, 120])
def test_a_killed_upgrade_leaves_the_old_or_the_new(url: str, milliseconds: int) -> None:
    process = subprocess.Popen(command(url), stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(milliseconds / 1000)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.5)  # the server rolls back what the process has left
    assert {count(url, "tellings") or 0, count(url, "notifications") or 0} == {0, 18}
    store = WatchStore(url, "lab")
    assert len(store.notifications()) == 18
    store.close_database()
    assert (count(url, "notifications"), count(url, "tellings")) == (18, None)
