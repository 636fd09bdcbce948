"""The whole watch as a process: against hosts that are not there."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError, InventoryError
from backstay.inventory.load import load
from backstay.watch.cloud_file import CloudFile
from backstay.watch.supervisor import TaskSupervisor, first_of

BACKSTAY = Path(sys.executable).with_name("backstay")
CLOUD = """\
name: nowhere
credentials: {{openrc: openrc}}
hosts:
  controller: {{address: 192.0.2.1, roles: [controller]}}
watch:
  page: {{listen: '127.0.0.1:{port}'}}
"""
OPENRC = """\
export OS_AUTH_URL=http://127.0.0.1:1/v3 OS_USERNAME=u OS_PASSWORD=geheim OS_PROJECT_NAME=p
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default
"""


class Watch:
    """``backstay watch`` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with closing(socket.create_server(("127.0.0.1", 0))) as one:
            self.port = one.getsockname()[1]
        self.cloud = folder / "cloud.yaml"
        self.cloud.write_text(CLOUD.format(port=self.port))
        (folder / "openrc").write_text(OPENRC)
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(str(folder / "notify"))
        self.told.settimeout(30)
        self.environment = os.environ | {
            "BACKSTAY_JOURNAL": f"sqlite:///{folder}/journal.db",
            "BACKSTAY_LOCKS": f"file://{folder}/locks",
            "RUNTIME_DIRECTORY": str(folder),
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "1000000",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def begin(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [BACKSTAY, "watch", "run", "--cloud", self.cloud],
                    stderr=log,
                    env=self.environment,
                )
            )
        return self.processes[-1]

    def until(self, holds: Callable[[], Any], bound: float = 30.0) -> None:
        end = time.monotonic() + bound
        while not holds():
            assert time.monotonic() < end, self.log
            time.sleep(0.1)

    def status(self) -> Any:
        done = subprocess.run(
            [BACKSTAY, "watch", "status", "--cloud", self.cloud, "-o", "json"],
            capture_output=True,
            check=False,
            env=self.environment,
        )
        return json.loads(done.stdout) | {"exit": done.returncode}

    def page(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/"
            return bool(urllib.request.urlopen(url, timeout=2).status == 200)
        except OSError:
            return False


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    one = Watch(tmp_path)
    yield one
    for process in one.processes:
        process.kill()
        process.wait()
    one.told.close()


def test_from_its_beginning_to_its_end(watch: Watch) -> None:
    assert watch.status()["exit"] == 3
    process = watch.begin()
    watch.until(watch.page)
    watch.until(lambda: "leads the watch of nowhere" in watch.log)
    told = {watch.told.recv(100) for _ in range(6)}
    assert {b"READY=1", b"WATCHDOG=1", b"STATUS=leading"} <= told
    watch.until(lambda: watch.status()["watched"])
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert time.monotonic() - started < 5
    assert watch.status()["watched"] is False
    assert "Traceback" not in watch.log
    assert "geheim" not in watch.log


def test_it_begins_while_the_journal_is_locked(watch: Watch) -> None:
    file = watch.folder / "journal.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN EXCLUSIVE")
        process = watch.begin()
        watch.until(lambda: "journal cannot be written" in watch.log)
        watch.until(watch.page)
        other.execute("ROLLBACK")
    watch.until(lambda: watch.status()["leader"].endswith(f"process {process.pid}"))


def test_a_new_cloud_yaml_is_taken_and_a_wrong_one_is_told(watch: Watch) -> None:
    watch.begin()
    watch.until(lambda: "leads the watch" in watch.log)
    text = watch.cloud.read_text()
    watch.cloud.write_text(text.replace("[controller]", "[king]"))
    watch.until(lambda: "the previous configuration stays in use" in watch.log)
    watch.cloud.write_text(text.replace("192.0.2.1", "192.0.2.2"))
    watch.until(lambda: "has changed" in watch.log)
    watch.until(watch.page)


def test_a_second_takes_over(watch: Watch) -> None:
    first = watch.begin()
    watch.until(lambda: "leads the watch" in watch.log)
    second = watch.begin()
    watch.until(lambda: "another process leads" in watch.log)
    first.kill()
    watch.until(lambda: f"process {second.pid} leads" in watch.log, 10)
    watch.until(watch.page, 15)


def test_a_wrong_cloud_yaml_at_the_beginning(watch: Watch) -> None:
    watch.cloud.write_text("hosts: 3")
    assert watch.begin().wait(30) == 3
    assert "Traceback" not in watch.log


def test_the_cloud_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "cloud.yaml"
    text = CLOUD.format(port=8484)
    path.write_text(text)

    async def story() -> None:
        file = CloudFile(path, load)
        first = file.cloud
        await file.reload_if_changed()
        assert file.cloud is first
        path.write_text("hosts: 3")
        await file.reload_if_changed()
        assert "stays in use" in file.trouble
        assert file.cloud is first
        path.write_text(text.replace("nowhere", "elsewhere"))
        await file.reload_if_changed()
        assert "restart the watch" in file.trouble
        waiting = asyncio.ensure_future(file.another(first))
        path.write_text(text.replace("192.0.2.1", "192.0.2.2"))
        await file.reload_if_changed()
        await waiting
        assert file.trouble == ""
        assert file.cloud.hosts["controller"].address == "192.0.2.2"

    asyncio.run(story())
    with pytest.raises(InventoryError):
        CloudFile(tmp_path / "none.yaml", load)


def test_a_part_that_fails_is_begun_again_and_told() -> None:
    said: list[str] = []
    started: list[float] = []

    async def fails() -> None:
        started.append(time.monotonic())
        if len(started) == 1:
            raise BackstayError("listening", came_back="in use", remedy="free it")
        if len(started) == 2:
            raise ValueError("x")
        await asyncio.Event().wait()

    async def story() -> None:
        parts = TaskSupervisor(said.append)
        keeping = asyncio.ensure_future(parts.keep("page", fails, longest=1.0))
        async with asyncio.timeout(20):
            while len(started) < 3:  # noqa: ASYNC110 - as an operator looks
                await asyncio.sleep(0.05)
            assert "error in Backstay itself: ValueError: x (test_process.py:" in parts.problems[0]
            while parts.problems:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        keeping.cancel()

    asyncio.run(story())
    assert "in use; what to do: free it" in said[0]
    assert len(said) == 2


def test_the_first_ends_the_others_and_its_error_is_raised() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def raises() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        asyncio.run(first_of(waits(), raises()))
    assert ended == ["waits"]
