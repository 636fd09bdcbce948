"""Killed, its disk full, its database locked: the watch loses nothing, and says nothing twice."""

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.watches import Watch, own_journal, watching

pytestmark = pytest.mark.lab


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk for the journal."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", mounted], check=True)
    yield mounted
    subprocess.run(["umount", "-l", mounted], check=True)


@pytest.fixture
def watched(
    lab: Lab, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    own_journal(monkeypatch, tmp_path, disk)
    with watching(lab, tmp_path) as running:
        yield running


@contextmanager
def locked(disk: Path) -> Iterator[None]:
    with closing(sqlite3.connect(disk / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(disk: Path) -> Iterator[None]:
    filling = disk / "filling"
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={filling}", "bs=4k"], check=False, capture_output=True
    )
    yield
    filling.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", [locked, full])
@pytest.mark.parametrize("killed", ["while it is", "after it was"])
def test_no_incident_is_lost_and_nothing_is_said_twice(
    lab: Lab,
    watched: Watch,
    disk: Path,
    spoilt: Callable[[Path], AbstractContextManager[None]],
    killed: str,
) -> None:
    with spoilt(disk):
        broken = time.time()
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("opened"), "it is told")
        print(f"told {time.time() - broken:.1f} s after the fault was made")
        # A full disk may have room left in the journal's own files. What is being sent when it is
        # killed is sent again with the same id, by which receivers recognise it.
        wrong = "the journal cannot be written"
        watched.until(
            lambda: wrong in watched.log or (spoilt is full and all_recorded_as_sent(disk)),
            "what was sent is recorded, or cannot be",
        )
        if killed == "while it is":
            anew(watched)
    if killed == "after it was":
        watched.until(watched.incidents, "it is written down")
        anew(watched)
    watched.until(watched.incidents, "it is written down")
    lab.backstay("lab", "heal")
    watched.until(lambda: watched.told.first("resolved"), "it is told to be over")
    watched.until(lambda: all(one["closed"] for one in watched.incidents()), "all is over")
    # A busy machine may have other trouble meanwhile, or find that this one hangs as well.
    assert watched.told.once()
    mine = [one for _, one in watched.told.posts if one["incident"]["service"] == "swift"]
    words = [one["event"] for one in mine]
    assert (words.count("opened"), words.count("resolved")) == (1, 1)
    assert (words[0], words[-1]) == ("opened", "resolved")
    [incident] = [one for one in watched.incidents() if one["cause"]["service"] == "swift"]
    kinds = [one["kind"] for one in incident["timeline"]]
    assert (kinds[0], kinds[-1]) == ("opened", "resolved")
    assert kinds.count("opened") == 1


def all_recorded_as_sent(disk: Path) -> bool:
    """Whether the journal has notifications, each as one that was sent."""
    with closing(sqlite3.connect(disk / "journal.db")) as journal:
        states = {state for (state,) in journal.execute("SELECT state FROM notifications")}
    return states == {"sent"}


def anew(watched: Watch) -> None:
    """Kill the watch, begin it again and wait until it sees what is wrong."""
    watched.kill()
    watched.start()
    watched.until(lambda: "is open: " in watched.log, "it knows what is wrong")
