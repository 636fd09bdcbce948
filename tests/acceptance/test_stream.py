"""The controller's binary log received while it is written to: killed, stalled, restarted."""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.mariadb.lag import SUBJECT, lag_findings
from backstay.backup.mariadb.replay import Replayed
from backstay.backup.mariadb.scratch import Scratch
from backstay.backup.place import Place
from backstay.finding import Finding, Severity
from backstay.inventory.load import load
from backstay.services.registry import all_services
from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with

pytestmark = pytest.mark.lab

LAG = 3.0
DATABASE = "backstay_story"


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    text = f"backup: {{folder: {tmp_path}/backups, stream_lag: {LAG:g}s}}\n"
    lab.shell(
        "controller",
        f"mariadb -e 'CREATE OR REPLACE DATABASE {DATABASE}; "
        f"CREATE TABLE {DATABASE}.t (n BIGINT PRIMARY KEY)'",
    )
    with cloud_with(lab, text) as file:
        yield file
    lab.shell("controller", f"mariadb -e 'DROP DATABASE {DATABASE}'")


class Writer:
    """Writes one row after another, and notes those that the server has acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        command = f"mariadb --batch --skip-column-names --unbuffered {DATABASE}"
        self._process = subprocess.Popen(
            [BACKSTAY, "lab", "shell", "controller", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        self._process.kill()
        self._process.communicate()

    def _write(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        number = time.time_ns() // 1000  # the server's log may have rows of other stories
        while not self._stopped.is_set():
            number += 1
            self._process.stdin.write(f"INSERT INTO t VALUES ({number}); SELECT {number};\n")
            self._process.stdin.flush()
            if not self._process.stdout.readline():
                return  # the server has gone away
            self.acknowledged.append(number)


@contextmanager
def streaming(cloud: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``backup stream`` in a process group of its own, which the story may end."""
    with (cloud.parent / "story-stream.log").open("ab") as log:
        process = subprocess.Popen(
            [BACKSTAY, "backup", "stream", "run", "--cloud", str(cloud)],
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGCONT)
            process.terminate()
        process.wait(30)
        (cloud.parent / "story-stream.log").unlink()


def status(lab: Lab, cloud: Path) -> tuple[int, dict[str, Any]]:
    named = ("backup", "stream", "status", "--cloud", str(cloud), "-o", "json")
    done = lab.backstay(*named, ok=False)
    [told] = json.loads(done.stdout)
    return done.returncode, told


def caught_up(lab: Lab, cloud: Path) -> None:
    """Wait until all that the server has now is here."""
    now = time.time()

    def holds() -> bool:
        code, told = status(lab, cloud)
        return code == 0 and (told["state"]["caught_up_at"] or 0) > now

    lab.wait_until(holds, what="the stream has everything", bound=60)


def place(cloud: Path) -> Place:
    return Place(load(cloud, services=[service.name for service in all_services()]))


def lag(cloud: Path) -> Finding:
    found = lag_findings(place(cloud).folder, limit=LAG, now=time.time())
    return next(one for one in found if one.subject == SUBJECT)


def rows(files: Sequence[Path]) -> set[int]:
    shown = subprocess.run(
        ["mariadb-binlog", "--no-defaults", "-v", f"--database={DATABASE}", *map(str, files)],
        capture_output=True,
        check=True,
    )
    # Bytes: the log has columns of other tables that are no text.
    return {int(found) for found in re.findall(rb"^###   @1=(\d+)", shown.stdout, re.MULTILINE)}


def newest(cloud: Path) -> list[Path]:
    return place(cloud).logs("controller").incarnations()[0].pieces()


async def replayed(cloud: Path, folder: Path) -> tuple[Replayed, int]:
    """Restore the newest backup into a scratch server, replay, and count the story's rows."""
    where = place(cloud)
    backup = where.catalogue.named("controller")
    file, position = backup.facts["position"]
    files = where.logs("controller").after(file, int(position), backup.facts["logs"][file])
    scratch = Scratch(folder)
    try:
        async with scratch.filling() as writer:

            async def receive(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            snapshot = backup.snapshots["database"]
            await where.restic().dump(snapshot, "/database.mbstream", receive, silence=60)
        await scratch.prepare(bound=60)
        await scratch.serve()
        found = await scratch.replay(files, start=int(position), until=None, bound=120)
        [count] = await scratch.query(f"SELECT COUNT(*) FROM {DATABASE}.t")
        return found, int(count)
    finally:
        await scratch.close()


def test_every_acknowledged_row_is_here_though_the_stream_is_killed(
    lab: Lab, cloud: Path, tmp_path: Path
) -> None:
    with Writer() as writer:
        lab.backstay("backup", "create", "controller", "--cloud", str(cloud), bound=300)
        before = len(writer.acknowledged)
        assert before > 100, "it is written to while the backup is taken"
        assert status(lab, cloud)[0] == 2, "nothing is set up yet"
        with streaming(cloud) as stream:
            caught_up(lab, cloud)
            stream.kill()
            stream.wait()
        assert status(lab, cloud)[0] == 2
        with streaming(cloud):
            lab.wait_until(lambda: len(writer.acknowledged) > before + 1000, what="rows")
            writer.__exit__()
            caught_up(lab, cloud)
            code, told = status(lab, cloud)
    assert (code, told["rpo"], told["state"]["behind"]) == (0, 0, 0)
    assert set(writer.acknowledged) <= rows(newest(cloud))
    found, count = asyncio.run(replayed(cloud, tmp_path / "scratch"))
    assert count == len(writer.acknowledged)
    assert found.torn == 0
    print(f"{count} rows, {found.changes} changes replayed, up to {found.at}")


def test_a_stalled_stream_is_told_and_catches_up(lab: Lab, cloud: Path) -> None:
    with streaming(cloud) as stream:
        caught_up(lab, cloud)
        os.killpg(stream.pid, signal.SIGSTOP)
        with Writer() as writer:
            # The files that come with it may be said to be late before the log is.
            lab.wait_until(
                lambda: status(lab, cloud)[1]["rpo"] > LAG, what="its log is said to lag", bound=30
            )
        code, told = status(lab, cloud)
        assert (code, told["running"]) == (1, True)
        silent = "its process has reported nothing"
        lab.wait_until(lambda: silent in lag(cloud).evidence, what=silent, bound=10)
        assert lag(cloud).severity is Severity.WARNING
        assert not set(writer.acknowledged) <= rows(newest(cloud))
        os.killpg(stream.pid, signal.SIGCONT)
        caught_up(lab, cloud)
        assert lag(cloud).severity is Severity.OK
    assert set(writer.acknowledged) <= rows(newest(cloud))


def test_it_goes_on_when_the_server_has_been_restarted(lab: Lab, cloud: Path) -> None:
    with streaming(cloud):
        caught_up(lab, cloud)
        before = newest(cloud)
        with Writer() as first:
            lab.wait_until(lambda: len(first.acknowledged) > 500, what="rows")
            lab.shell("controller", "systemctl restart mariadb")
        lab.shell("controller", f"mariadb {DATABASE} -e 'INSERT INTO t VALUES (7)'")
        caught_up(lab, cloud)
        told = status(lab, cloud)[1]
    assert told["state"]["incarnation"] == 1
    files = newest(cloud)
    assert len(files) == len(before) + 1
    assert {*first.acknowledged, 7} <= rows(files)
    lab.wait_green()
