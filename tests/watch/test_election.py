"""Who leads: real processes that are killed, stopped and cut off; real files and a real etcd."""

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.watch.incidents.notification import Delivery
from backstay.watch.incidents.store import WatchStore
from tests.journal.etcd_server import EtcdServer, etcd_server
from tests.watch.journal_servers import Server, postgresql_server

AWAY = 10.0
"""Seconds that the database is away."""


class Watch:
    """One process that contends for the lead, and what it says."""

    def __init__(self, locks: str, journal: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.watch.leader", locks, journal],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def until(self, beginning: str, bound: float = 30.0) -> float:
        """Wait until it says something that begins so; return for how many seconds."""
        started = time.monotonic()
        while True:
            left = max(0.0, started + bound - time.monotonic())
            self.said.append(self._lines.get(timeout=left))
            if self.said[-1].startswith(beginning):
                return time.monotonic() - started

    def lines_are_read(self) -> bool:
        """Return whether all that it has said so far was read."""
        return self._lines.empty()

    def told(self) -> list[str]:
        """Return all that it has told so far."""
        while not self._lines.empty():
            self.said.append(self._lines.get())
        return [line for line in self.said if line.startswith("tells")]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def assert_each_is_sent_once(first: Watch, second: Watch) -> None:
    """Only what the first was sending when it ended may be sent again: who knows if it arrived."""
    before, after = first.told(), second.told()
    assert len(set(before)) == len(before)
    assert len(set(after)) == len(after)
    assert set(before) & set(after) <= set(before[-1:])


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def watches() -> Iterator[list[Watch]]:
    started: list[Watch] = []
    yield started
    for one in started:
        one.end()


def test_the_second_leads_when_the_first_is_killed(
    tmp_path: Path, journal: str, watches: list[Watch]
) -> None:
    locks = f"file://{tmp_path}/locks"
    watches.append(first := Watch(locks, journal))
    first.until("tells the same")
    watches.append(second := Watch(locks, journal))
    second.until("waits")
    first.end()
    assert second.until("leads") < 5
    second.until("tells")
    assert_each_is_sent_once(first, second)
    assert (first.told() + second.told()).count("tells the same") == 1


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with etcd_server(tmp_path_factory.mktemp("etcd")) as server:
        yield server


def test_by_etcd_the_second_leads_when_the_first_is_killed(
    etcd: EtcdServer, journal: str, watches: list[Watch]
) -> None:
    watches.append(first := Watch(etcd.url, journal))
    first.until("tells the same")
    watches.append(second := Watch(etcd.url, journal))
    second.until("waits")
    first.end()
    assert second.until("leads") < 12
    second.until("tells")
    assert_each_is_sent_once(first, second)


def test_by_etcd_who_was_stopped_for_a_while_tells_nothing_more(
    etcd: EtcdServer, journal: str, watches: list[Watch]
) -> None:
    watches.append(first := Watch(etcd.url, journal))
    first.until("tells the same")
    watches.append(second := Watch(etcd.url, journal))
    second.until("waits")
    while not first.lines_are_read():
        first.until("pauses")
    first.until("pauses")  # now, in no transaction: it would keep the file locked for the second
    first.process.send_signal(signal.SIGSTOP)
    assert second.until("leads") < 12
    second.until("tells")
    first.process.send_signal(signal.SIGCONT)
    first.process.wait(10)
    assert_each_is_sent_once(first, second)


def test_by_etcd_a_leader_goes_on_in_doubt_while_etcd_is_away(
    etcd: EtcdServer, journal: str, watches: list[Watch]
) -> None:
    watches.append(first := Watch(etcd.url, journal))
    first.until("tells the same")
    etcd.pause()
    try:
        first.until("doubts")
        first.until("tells")
    finally:
        etcd.resume()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[tuple[str, Server]]:
    with postgresql_server() as (url, server):
        yield url, server


def sent(journal: str) -> list[str]:
    """Return what the journal has as sent, as a watch says it."""
    store = WatchStore(journal, "lab")
    try:
        return [
            f"tells {record.incident.cause.key}"
            for record in store.everything()
            for one in record.notifications
            if one.state is Delivery.SENT
        ]
    finally:
        store.close_database()


def test_with_a_journal_in_postgresql_the_second_leads_and_a_database_away_loses_nothing(
    tmp_path: Path, postgresql: tuple[str, Server], watches: list[Watch]
) -> None:
    (journal, server), locks = postgresql, f"file://{tmp_path}/locks"
    watches.append(first := Watch(locks, journal))
    first.until("tells the same")
    watches.append(second := Watch(locks, journal))
    second.until("waits")
    first.end()
    second.until("leads")
    second.until("tells")

    server.stop()
    away = time.monotonic()
    before = set(second.told())
    while time.monotonic() < away + AWAY:
        second.until("tells")
    server.start()
    assert_each_is_sent_once(first, second)
    told = [*first.told(), *second.told()]
    assert len(set(second.told()) - before) > 1, "it is sent while the database is away"

    end = time.monotonic() + 30
    while not set(told) <= set(found := sent(journal)):
        assert time.monotonic() < end, set(told) - set(found)
        time.sleep(0.2)
    assert len(set(found)) == len(found)


def test_a_telling_is_made_but_once(journal: str, watches: list[Watch], tmp_path: Path) -> None:
    locks = f"file://{tmp_path}/locks"
    for _ in range(3):
        watches.append(one := Watch(locks, journal))
        one.until("tells", 15)
        one.end()
    notifications = WatchStore(journal, "lab").notifications()
    assert len({(it.incident, it.event) for it in notifications}) == len(notifications)
    assert sum(it.state is not Delivery.SENT for it in notifications) <= 4
