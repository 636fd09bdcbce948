"""A binary log replayed on a real scratch server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.backup.mariadb.replay import Replayed
from backstay.backup.mariadb.scratch import Scratch, missing
from backstay.errors import BackupError

RECORDED = Path(__file__).parents[1] / "backup" / "data" / "mysql-bin.000002"
pytestmark = pytest.mark.skipif(bool(missing()), reason="needs mariadb-server, mariadb-backup")


@asynccontextmanager
async def restored(folder: Path) -> AsyncIterator[Scratch]:
    """Serve what the server had at position 385 of the recorded file: two rows, one user."""
    scratch = Scratch(folder)
    try:
        async with scratch.loading():
            pass  # an empty one
        await scratch.serve()
        await scratch.query(
            "CREATE DATABASE story; CREATE TABLE story.t (id INT AUTO_INCREMENT PRIMARY KEY, "
            "at TIMESTAMP(6), word VARCHAR(60)) CHARSET latin1; "
            "INSERT INTO story.t VALUES (1, '2026-11-24 18:29:15.731992', 'one'), "
            "(2, '2026-11-24 18:29:15.731992', 'two');"
            "FLUSH PRIVILEGES; CREATE USER nova"
        )
        await scratch.stop()  # as a restore finds it: without grants
        await scratch.serve()
        yield scratch
    finally:
        await scratch.close()


def replay(
    folder: Path, file: Path, until: datetime | None = None
) -> tuple[Replayed, list[str], list[str]]:
    """Return up to where a file was replayed, and the words and users that are then there."""

    async def story() -> tuple[Replayed, list[str], list[str]]:
        async with restored(folder) as scratch:
            found = await scratch.replay([file], start=385, until=until, bound=60)
            words = await scratch.query("SELECT word FROM story.t ORDER BY id")
            users = await scratch.query("SELECT user FROM mysql.user WHERE user IN ('neu', 'nova')")
            return found, words, users

    return asyncio.run(story())


def test_rows_users_and_schema_are_as_they_were(tmp_path: Path) -> None:
    found, words, users = replay(tmp_path / "scratch", RECORDED)
    assert (found.position, found.changes, found.torn) == (1998, 8, 0)
    assert found.at == datetime(2026, 11, 24, 18, 29, 16, tzinfo=UTC)
    assert words == ["five", "two", "three", "four", "after"]
    assert users == ["neu"]


def test_up_to_a_time_and_over_a_torn_end(tmp_path: Path) -> None:
    at = datetime(2026, 11, 24, 18, 29, 16, tzinfo=UTC)
    found, words, users = replay(tmp_path / "scratch", RECORDED, until=at)
    assert found.position == 1041
    assert words == ["five", "two", "three", "four"]
    assert users == ["nova"]
    torn = tmp_path / "mysql-bin.000002"
    torn.write_bytes(RECORDED.read_bytes()[:1700])
    found, words, users = replay(tmp_path / "scratch", torn)
    assert (found.position, found.torn) == (1617, 83)
    assert (words, users) == (["five", "two", "three", "four"], ["neu"])


def test_what_does_not_fit_or_is_damaged_is_told(tmp_path: Path) -> None:
    async def broken(folder: Path, file: Path, *rows: str) -> None:
        async with restored(folder) as scratch:
            for row in rows:
                await scratch.query(f"INSERT INTO story.t VALUES {row}")
            await scratch.replay([file], start=385, until=None, bound=60)

    first = tmp_path / "mysql-bin.000002"
    data = bytearray(RECORDED.read_bytes())
    data[1700] ^= 1
    first.write_bytes(data)
    with pytest.raises(BackupError, match=r"replaying the binary log: mysql-bin\.000002"):
        asyncio.run(broken(tmp_path / "scratch", first))
    # The log goes on from another state than the restored one.
    with pytest.raises(BackupError, match="Duplicate entry '5'"):
        asyncio.run(broken(tmp_path / "scratch", RECORDED, "(5, NOW(), 'there already')"))
