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

    def told(self) -> list[str]:
        """Return all that it has told so far."""
        while not self._lines.empty():
            self.said.append(self._lines.get())
        return [line for line in self.said if line.startswith("tells")]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


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
    told = first.told() + second.told()
    assert len(set(told)) == len(told)
    assert told.count("tells the same") == 1


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
    told = first.told() + second.told()
    assert len(set(told)) == len(told)


def test_by_etcd_who_was_stopped_for_a_while_tells_nothing_more(
    etcd: EtcdServer, journal: str, watches: list[Watch]
) -> None:
    watches.append(first := Watch(etcd.url, journal))
    first.until("tells the same")
    watches.append(second := Watch(etcd.url, journal))
    second.until("waits")
    first.process.send_signal(signal.SIGSTOP)
    assert second.until("leads") < 12
    second.until("tells")
    first.process.send_signal(signal.SIGCONT)
    first.process.wait(10)
    told = first.told() + second.told()
    assert len(set(told)) == len(told)


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


def test_a_telling_is_made_but_once(journal: str, watches: list[Watch], tmp_path: Path) -> None:
    locks = f"file://{tmp_path}/locks"
    for _ in range(3):
        watches.append(one := Watch(locks, journal))
        one.until("tells", 15)
        one.end()
    notifications = WatchStore(journal, "lab").notifications()
    assert len({(it.incident, it.event) for it in notifications}) == len(notifications)
    assert sum(it.state is not Delivery.SENT for it in notifications) <= 4
