"""What the pages show when the journal is slow, locked or gone."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from backstay.journal.records import JournalError
from backstay.journal.store import Store
from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.store import WatchStore
from backstay.watch.web import records as module
from backstay.watch.web.app import make_app
from backstay.watch.web.records import RecordReader
from tests.watch.web.conftest import Serving
from tests.watch.web.fake_cloud import DOWN, FakeCloud, cloud, snapshot

OLD_VERSION = Path(__file__).parents[2] / "fixtures" / "old_version"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is read has no event
            await asyncio.sleep(0.02)


async def until_shown(client: httpx.AsyncClient, path: str, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in (await client.get(path)).text:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def _timed(client: httpx.AsyncClient, path: str) -> tuple[httpx.Response, float]:
    started = time.perf_counter()
    answer = await client.get(path)
    return answer, time.perf_counter() - started


def test_a_reader_does_not_wait_for_a_writer(fake: FakeCloud, tmp_path: Path) -> None:
    fake.closed_incident()
    fake.journal.runs()  # the first use makes the tables
    with sqlite3.connect(tmp_path / "journal.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        started = time.perf_counter()
        assert len(fake.store.incidents()) == 1
        assert fake.journal.runs() == []
        assert time.perf_counter() - started < 5
        writer.execute("ROLLBACK")


def test_the_snapshot_is_shown_while_the_database_hangs(
    fake: FakeCloud, served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for readers, like a database server that does not answer any more."""
    monkeypatch.setattr(module, "_BOUND", 0.3)
    fake.closed_incident()

    async def story() -> None:
        async with served(fake) as url, httpx.AsyncClient(base_url=url) as client:
            await until_shown(client, "/incidents", "does not process RPC messages")

            def hangs(*_args, **_kwargs):
                time.sleep(1.0)
                raise AssertionError("not waited for")

            monkeypatch.setattr(fake.store, "incidents", hangs)
            monkeypatch.setattr(fake.store, "history", hangs)
            monkeypatch.setattr(fake.store, "notifications", hangs)
            await fake.feed.publish(snapshot(time.time(), down=DOWN))
            await until_shown(client, "/", "The journal cannot be read")
            home, took = await _timed(client, "/")
            assert "connection accepted, no answer" in home.text
            assert took < 0.5  # of a busy machine; alone it is a few milliseconds
            known, took = await _timed(client, "/incidents/1")
            assert "does not process RPC messages" in known.text
            assert "Notifications cannot be read now" in known.text
            subject, _ = await _timed(client, "/targets/controller/keystone/token validation")
            assert "The history cannot be read now" in subject.text
            api, _ = await _timed(client, "/api/v1/incidents")
            assert (api.status_code, api.headers["content-type"]) == (
                503,
                "application/problem+json",
            )
            assert (await client.get("/api/v1/status")).json()["journal_error"]

    asyncio.run(story())


def test_hanging_calls_are_bounded(fake: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BOUND", 0.05)
    reader = RecordReader(fake.store, fake.journal, fake.cloud)

    async def story() -> list[str]:
        errors = []
        for _ in range(10):
            with pytest.raises(JournalError) as error:
                await reader.ask(lambda: time.sleep(1.0))
            errors.append(error.value.came_back)
        return errors

    errors = asyncio.run(story())
    assert sum("too many" in one for one in errors) == 6


def test_records_are_read_more_often_while_a_page_is_open(
    fake: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    monkeypatch.setattr(module, "_RECENTLY_WANTED", 0.2)
    reader = RecordReader(fake.store, fake.journal, fake.cloud)

    async def story() -> None:
        task = asyncio.create_task(reader.run())
        await until(lambda: reader.records.at > 0)
        incident = await fake.break_()
        reader.wanted()
        await until(lambda: [one.id for one in reader.records.open] == [incident.id])
        name, claim = fake.run()
        fake.journal.start(claim, "proxy.step0")
        fake.journal.progress(claim, "proxy.step0", "half of it")
        reader.wanted()
        await until(lambda: reader.records.messages.get(name) == "half of it")
        task.cancel()

    asyncio.run(story())


def test_a_page_is_quick_with_everything_down(fake: FakeCloud, served: Serving) -> None:
    down = snapshot(time.time(), down=tuple(fake.feed.snapshot.targets))

    async def story() -> list[float]:
        await fake.feed.publish(down)
        async with served(fake) as url, httpx.AsyncClient(base_url=url) as client:
            return [(await _timed(client, "/"))[1] for _ in range(20)]

    times = sorted(asyncio.run(story()))
    assert times[len(times) // 2] < 0.1


def test_a_journal_of_the_old_version_is_shown(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.write_bytes((OLD_VERSION / "journal.sqlite").read_bytes())
    url = f"sqlite:///{journal}"
    app = make_app(
        feed=SnapshotFeed("lab"),
        store=WatchStore(url, "lab"),
        journal=Store(url),
        cloud=cloud(tmp_path).model_copy(update={"name": "lab"}),
    )
    with TestClient(app, "http://localhost") as client:
        incident = client.get("/api/v1/incidents/3").json()
        assert [entry["kind"] for entry in incident["timeline"]] == [
            "opened",
            "approval_requested",
            "updated",
            "resolved",
        ]
        assert {one["event"] for one in incident["notifications"]} == {
            "opened",
            "approval_requested",
            "resolved",
        }
        assert len(client.get("/api/v1/runs").json()["runs"]) == 9
        for path in ("/incidents/3", "/incidents", "/runs/reboot-1", "/runs/reboot-9"):
            assert client.get(path).status_code == 200, path
