"""The incident log: whatever happens to the journal, no incident is lost or notified twice."""

import asyncio
import contextlib
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstay.journal.records import JournalError
from backstay.watch.incidents.log import IncidentLog, NotLeading
from backstay.watch.incidents.notification import Delivery, NotificationEvent
from backstay.watch.incidents.store import BUSY, Minute, WatchStore
from tests.watch.causes import CAUSE, OTHER


class Breakable(WatchStore):
    """A store that can be made to fail, before or after the write has come true."""

    broken = ""

    def _do(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if self.broken == "before":
            raise JournalError("writing", came_back="disk full", remedy="make room")
        answer = call(*arguments, **named)
        if self.broken == "after":
            raise JournalError("writing", came_back="disk full", remedy="make room")
        return answer

    def open(self, *arguments: Any, **named: Any) -> Any:
        return self._do(super().open, *arguments, **named)

    def put(self, *arguments: Any, **named: Any) -> Any:
        return self._do(super().put, *arguments, **named)

    def live(self, *arguments: Any, **named: Any) -> Any:
        return self._do(super().live, *arguments, **named)

    def keep(self, *arguments: Any, **named: Any) -> Any:
        return self._do(super().keep, *arguments, **named)


def store_at(folder: Path, name: str = "journal") -> Breakable:
    return Breakable(f"sqlite:///{folder}/{name}.db", "lab", busy=BUSY)


def ledger_of(store: WatchStore, spare: WatchStore | None = None) -> IncidentLog:
    return IncidentLog(store, channels=lambda _: ["mail"], keep=86400.0, spare=spare)


async def notify(incident_log: IncidentLog, told: list[tuple[str, NotificationEvent]]) -> None:
    """Send all that is due, as the notifier does."""
    for notification, incident in await incident_log.due(1e12):
        await incident_log.sending(notification.id)
        told.append((incident.cause.key, notification.event))
        await incident_log.sent(notification.id, at=5.0)


async def met(incident_log: IncidentLog) -> None:
    """What ``run`` does when the journal may be back."""
    await incident_log._meet()


def test_an_incident_is_kept_told_and_closed(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story() -> None:
        incident_log = ledger_of(store)
        told: list[tuple[str, NotificationEvent]] = []
        await incident_log.start()
        opened = await incident_log.open(CAUSE, began=1.0, at=2.0)
        assert await incident_log.open(CAUSE, began=1.0, at=3.0) == opened
        assert incident_log.changed.is_set()
        await notify(incident_log, told)
        await incident_log.note(opened, "action_taken", "began restart-1", at=3.0, run="restart-1")
        await incident_log.close(opened, at=9.0, text="answers again")
        await notify(incident_log, told)
        assert told == [
            (CAUSE.key, NotificationEvent.OPENED),
            (CAUSE.key, NotificationEvent.RESOLVED),
        ]
        assert incident_log.open_incidents() == ()
        assert incident_log.problems == ()

    asyncio.run(story())
    [kept] = store.everything()
    assert (kept.incident.id, kept.incident.closed, kept.incident.run) == (1, 9.0, "restart-1")
    assert {one.state for one in kept.notifications} == {Delivery.SENT}


@pytest.mark.parametrize("broken", ["before", "after"])
def test_told_though_the_journal_fails_and_joined_later(tmp_path: Path, broken: str) -> None:
    store, spare = store_at(tmp_path), store_at(tmp_path, "spare")

    async def story() -> None:
        incident_log = ledger_of(store, spare)
        told: list[tuple[str, NotificationEvent]] = []
        await incident_log.start()
        store.broken = broken
        opened = await incident_log.open(CAUSE, began=1.0, at=2.0)
        assert "disk full" in incident_log.problems[0]
        assert not incident_log.writable
        await notify(incident_log, told)
        store.broken = ""
        await met(incident_log)
        assert incident_log.problems == ()
        await incident_log.close(opened, at=9.0, text="answers again")
        await notify(incident_log, told)
        assert told == [
            (CAUSE.key, NotificationEvent.OPENED),
            (CAUSE.key, NotificationEvent.RESOLVED),
        ]

    asyncio.run(story())
    [kept] = store.everything()
    assert [it.kind for it in kept.incident.timeline] == ["opened", "resolved"]
    assert [(it.event, it.state) for it in kept.notifications] == [
        (NotificationEvent.OPENED, Delivery.SENT),
        (NotificationEvent.RESOLVED, Delivery.SENT),
    ]
    assert spare.everything() == []


def test_a_watch_that_dies_while_the_journal_fails_tells_nothing_again(tmp_path: Path) -> None:
    store, spare = store_at(tmp_path), store_at(tmp_path, "spare")
    told: list[tuple[str, NotificationEvent]] = []

    async def first() -> None:
        incident_log = ledger_of(store, spare)
        await incident_log.start()
        await incident_log.open(CAUSE, began=1.0, at=2.0)
        await notify(incident_log, told)
        store.broken = "before"
        await incident_log.open(OTHER, began=1.0, at=2.0)
        await notify(incident_log, told)

    async def second() -> None:
        incident_log = ledger_of(store, spare)
        await incident_log.start()
        assert {it.cause.key for it in incident_log.open_incidents()} == {CAUSE.key, OTHER.key}
        await incident_log.open(OTHER, began=1.0, at=7.0)
        await incident_log.open(CAUSE, began=1.0, at=7.0)
        await notify(incident_log, told)
        store.broken = ""
        await met(incident_log)
        await notify(incident_log, told)

    asyncio.run(first())
    asyncio.run(second())
    assert told == [(CAUSE.key, NotificationEvent.OPENED), (OTHER.key, NotificationEvent.OPENED)]
    assert {it.incident.cause.key for it in store.everything()} == {CAUSE.key, OTHER.key}


def test_what_was_being_sent_when_the_watch_died_is_told_to_be_in_doubt(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def first() -> None:
        incident_log = ledger_of(store)
        await incident_log.start()
        await incident_log.open(CAUSE, began=1.0, at=2.0)
        [(notification, _)] = await incident_log.due(9.0)
        await incident_log.sending(notification.id)
        assert await incident_log.due(9.0) == []

    async def second() -> None:
        incident_log = ledger_of(store)
        await incident_log.start()
        [(notification, _)] = await incident_log.due(9.0)
        assert (notification.state, notification.attempts) == (Delivery.SENDING, 1)

    asyncio.run(first())
    asyncio.run(second())


def test_a_fenced_leader_tells_nothing_more(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story() -> None:
        incident_log = ledger_of(store)
        await incident_log.start()
        await incident_log.open(CAUSE, began=1.0, at=2.0)
        [(notification, _)] = await incident_log.due(9.0)
        store_at(tmp_path).lead()
        with pytest.raises(NotLeading):
            await incident_log.sending(notification.id)
        assert incident_log.lease_lost.is_set()
        assert await incident_log.due(9.0) == []

    asyncio.run(story())
    [notification] = store.notifications()
    assert notification.state is Delivery.WAITING


def test_what_was_read_before_it_ended_does_not_come_back(tmp_path: Path) -> None:
    read, go_on = threading.Event(), threading.Event()

    class Slow(Breakable):
        def live(self, *arguments: Any, **named: Any) -> Any:
            found = super().live(*arguments, **named)
            read.set()
            go_on.wait(2)
            return found

    store = Slow(f"sqlite:///{tmp_path}/journal.db", "lab", busy=BUSY)
    go_on.set()

    async def story() -> None:
        incident_log = ledger_of(store)
        told: list[tuple[str, NotificationEvent]] = []
        await incident_log.start()
        opened = await incident_log.open(CAUSE, began=1.0, at=2.0)
        read.clear()
        go_on.clear()
        meeting = asyncio.ensure_future(met(incident_log))
        await asyncio.to_thread(read.wait, 5)
        asyncio.get_running_loop().call_later(0.2, go_on.set)
        await incident_log.close(opened, at=3.0, text="over")
        await notify(incident_log, told)
        await meeting
        await notify(incident_log, told)
        assert told == [
            (CAUSE.key, NotificationEvent.OPENED),
            (CAUSE.key, NotificationEvent.RESOLVED),
        ]
        assert incident_log.open_incidents() == ()

    asyncio.run(story())


def test_a_locked_journal_holds_nothing_up(tmp_path: Path) -> None:
    store, spare = store_at(tmp_path), store_at(tmp_path, "spare")
    minute = Minute(subject="a/b/c", minute=1, asked=1, answered=1, median=0.1, longest=0.1)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        told: list[tuple[str, NotificationEvent]] = []
        incident_log = ledger_of(store, spare)
        await incident_log.start()
        with locked(tmp_path / "journal.db"):
            started = loop.time()
            await incident_log.open(CAUSE, began=1.0, at=2.0)
            assert loop.time() - started < 3 * BUSY
            started = loop.time()
            await incident_log.open(OTHER, began=1.0, at=2.0)
            await incident_log.keep([minute])
            await notify(incident_log, told)
            assert loop.time() - started < 2 * BUSY
            assert "locked" in incident_log.problems[0]
        work = asyncio.ensure_future(incident_log.run())
        async with asyncio.timeout(20):
            while not store.history(since=0.0):  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.05)
        assert incident_log.problems == ()
        work.cancel()
        await notify(incident_log, told)
        assert told == [
            (CAUSE.key, NotificationEvent.OPENED),
            (OTHER.key, NotificationEvent.OPENED),
        ]

    asyncio.run(story())
    assert len(store.everything()) == 2
    assert store.history(since=0.0) == [minute]


def test_a_watch_that_begins_while_the_journal_is_locked(tmp_path: Path) -> None:
    store_at(tmp_path).open(CAUSE, began=1.0, at=2.0, channels=["mail"])

    async def story() -> None:
        incident_log = ledger_of(store_at(tmp_path), store_at(tmp_path, "spare"))
        told: list[tuple[str, NotificationEvent]] = []
        with locked(tmp_path / "journal.db"):
            await incident_log.start()
            await incident_log.open(replace(CAUSE, symptoms=("x",)), began=5.0, at=6.0)
            await notify(incident_log, told)
        await met(incident_log)
        await notify(incident_log, told)
        [one] = incident_log.open_incidents()
        assert (one.id, one.began, one.cause.symptoms) == (1, 1.0, ("x",))
        assert told == [(CAUSE.key, NotificationEvent.OPENED)]

    asyncio.run(story())
    [kept] = store_at(tmp_path).everything()
    assert kept.incident.id == 1


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let another process have the database for itself."""
    script = "import sqlite3,sys; db=sqlite3.connect(sys.argv[1],isolation_level=None); "
    script += "db.execute('BEGIN EXCLUSIVE'); print('locked',flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        ["python3", "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"locked\n"
    try:
        yield
    finally:
        other.communicate()


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        asyncio.run(_full(disk, tmp_path))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


async def _full(disk: Path, folder: Path) -> None:
    store = store_at(disk)
    told: list[tuple[str, NotificationEvent]] = []
    incident_log = ledger_of(store, store_at(folder, "spare"))
    await incident_log.start()
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1000)):
            pass
    numbers = range(200)
    for number in numbers:  # what is in the file already has some room left
        await incident_log.open(replace(CAUSE, key=f"{number}", title="x" * 500), began=1.0, at=2.0)
    assert any("full" in one for one in incident_log.problems), incident_log.problems
    await notify(incident_log, told)
    filling.unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)  # noqa: ASYNC221
    await met(incident_log)
    assert incident_log.problems == ()
    await notify(incident_log, told)
    assert sorted(told) == sorted((f"{number}", NotificationEvent.OPENED) for number in numbers)
    kept = store.everything()
    assert {it.incident.cause.key for it in kept} == {f"{number}" for number in numbers}
    assert all(it.state is Delivery.SENT for one in kept for it in one.notifications)
    with sqlite3.connect(disk / "journal.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


HAPPENINGS = st.lists(
    st.sampled_from(
        ["open a", "open b", "close a", "close b", "tell", "before", "after", "works", "dies"]
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_whatever_fails_when(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    store, spare = store_at(folder), store_at(folder, "spare")
    told: list[tuple[str, NotificationEvent]] = []
    started: dict[str, int] = {"a": 0, "b": 0}
    ended: dict[str, int] = {"a": 0, "b": 0}

    async def story() -> None:
        incident_log = ledger_of(store, spare)
        await incident_log.start()
        for at, step in enumerate(steps, 10):
            known = {it.cause.key: it for it in incident_log.open_incidents()}
            match step.split():
                case ["open", key]:
                    started[key] += key not in known
                    await incident_log.open(replace(CAUSE, key=key), began=at, at=at)
                case ["close", key] if key in known:
                    ended[key] += 1
                    await incident_log.close(known[key], at=at, text="over")
                case ["tell"]:
                    await notify(incident_log, told)
                case ["works"]:
                    store.broken = ""
                    await met(incident_log)
                case ["before" | "after"]:
                    store.broken = step
                case ["dies"]:
                    incident_log = ledger_of(store, spare)
                    await incident_log.start()
        store.broken = ""
        await met(incident_log)
        await notify(incident_log, told)

    asyncio.run(story())
    kept = store.everything()
    for key in "ab":
        mine = [it.incident for it in kept if it.incident.cause.key == key]
        assert len(mine) == started[key]
        assert sum(it.closed is not None for it in mine) == ended[key]
        assert told.count((key, NotificationEvent.OPENED)) == started[key]
        assert told.count((key, NotificationEvent.RESOLVED)) == ended[key]
    assert spare.everything() == [it for it in spare.everything() if not it.finished]
