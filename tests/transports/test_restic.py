"""A real restic repository on this machine's disk."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from backstay.errors import BackupError
from backstay.transports.restic import Restic
from backstay.transports.restic_output import Snapshot, counts

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed: apt-get install restic"
)
DATA = os.urandom(3_000_000)


@pytest.fixture
def restic(tmp_path: Path) -> Restic:
    password = tmp_path / "password"
    password.write_text("geheim")
    made = Restic(str(tmp_path / "repository"), password, tmp_path / "cache")
    asyncio.run(made.open())
    return made


async def store(restic: Restic, data: bytes = DATA, *tags: str) -> Snapshot:
    async with restic.receiving("stream", host="controller", tags=tags or ("a",)) as (send, found):
        for at in range(0, len(data), 100_000):
            await send(data[at : at + 100_000])
    return found["stream"]


async def read(restic: Restic, snapshot: str) -> bytes:
    got = bytearray()

    async def receive(data: bytes) -> None:
        got.extend(data)

    await restic.dump(snapshot, "/stream", receive, silence=30)
    return bytes(got)


def test_what_goes_in_comes_out(restic: Restic) -> None:
    async def story() -> None:
        first = await store(restic)
        assert first.size == len(DATA)
        assert await read(restic, first.id) == DATA
        again = await store(restic)
        assert again.added < len(DATA) / 100, "the same data are stored once"
        assert [one.id for one in await restic.snapshots("a")] == [first.id, again.id]
        assert await restic.snapshots("b") == []
        await restic.forget([first.id], prune=True, bound=60)
        assert [one.id for one in await restic.snapshots()] == [again.id]
        assert await read(restic, again.id) == DATA

    asyncio.run(story())


def test_a_producer_that_fails_leaves_no_snapshot(restic: Restic) -> None:
    async def story() -> None:
        async def gone() -> None:
            async with restic.receiving("stream", host="controller", tags=["a"]) as (send, _):
                await send(DATA)
                raise RuntimeError("the host is gone")

        with pytest.raises(RuntimeError):
            await gone()
        assert await restic.snapshots() == []
        await restic.open()
        assert (await store(restic)).size == len(DATA)

    asyncio.run(story())


def test_a_folder_comes_back_as_it_was(restic: Restic, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc" / "nova.conf").write_text("[DEFAULT]\n")

    async def story() -> None:
        made = await restic.backup(source, host="controller", tags=["files"], bound=60)
        await restic.restore(made.id, tmp_path / "there", bound=60)

    asyncio.run(story())
    assert (tmp_path / "there" / "etc" / "nova.conf").read_text() == "[DEFAULT]\n"


def test_a_wrong_password_is_told_and_not_shown(restic: Restic, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("falsch")
    with pytest.raises(BackupError) as raised:
        asyncio.run(Restic(restic.repository, wrong, tmp_path / "cache").open())
    assert "wrong password" in str(raised.value)
    assert "falsch" not in str(raised.value)
    assert "another repository's" in raised.value.remedy


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_a_password_file_without_a_password_is_told(
    restic: Restic, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "other"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BackupError) as raised:
        asyncio.run(Restic(restic.repository, file, tmp_path / "cache").open())
    assert "file" in raised.value.remedy
    assert "password" in str(raised.value)


def locks(restic: Restic) -> list[Path]:
    return list(Path(restic.repository, "locks").iterdir())


def test_pruning_waits_for_nobody_and_tears_nothing(restic: Restic) -> None:
    async def story() -> None:
        first = await store(restic)
        async with restic.receiving("stream", host="controller", tags=["a"]) as (send, found):
            await send(DATA)
            while not locks(restic):  # noqa: ASYNC110 - restic tells by a file that it is at work
                await asyncio.sleep(0.05)
            with pytest.raises(BackupError) as raised:
                await restic.forget([first.id], prune=True, bound=60)
            assert "another restic is at work" in raised.value.remedy
        assert await read(restic, found["stream"].id) == DATA

    asyncio.run(asyncio.wait_for(story(), 120))


def test_a_repository_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim")
    nowhere = Restic("/proc/nowhere", tmp_path / "password", tmp_path / "cache")
    with pytest.raises(BackupError):
        asyncio.run(nowhere.open())


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_is_found(restic: Restic, seed: int) -> None:
    asyncio.run(store(restic))
    packs = sorted(Path(restic.repository, "data").rglob("*"))
    chosen = random.Random(seed)
    pack = chosen.choice([path for path in packs if path.is_file()])
    data = bytearray(pack.read_bytes())
    data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(3)
    pack.chmod(0o600)
    pack.write_bytes(data)
    with pytest.raises(BackupError) as raised:
        asyncio.run(restic.check(read_data=True, bound=60))
    assert "damaged" in raised.value.remedy, raised.value


def packs(restic: Restic) -> list[Path]:
    """The repository's packs, but for those that were being written when restic was killed."""
    found = Path(restic.repository, "data").rglob("*")
    return [path for path in found if path.is_file() and "-tmp-" not in path.name]


def test_what_a_killed_restic_left_is_in_nobody_s_way(restic: Restic) -> None:
    kept = asyncio.run(store(restic))
    before = set(packs(restic))
    killed = subprocess.Popen(
        ["restic", "backup", "--stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=restic._environment,
    )
    assert killed.stdin is not None
    end = time.monotonic() + 60
    while set(packs(restic)) == before:
        killed.stdin.write(os.urandom(1_000_000))
        assert time.monotonic() < end
    killed.kill()
    killed.communicate()
    assert list(Path(restic.repository, "locks").iterdir()), "it has left its lock"

    asyncio.run(restic.check(read_data=True, bound=60))
    asyncio.run(restic.forget([], prune=True, bound=60))
    assert set(packs(restic)) == before
    assert asyncio.run(read(restic, kept.id)) == DATA


def test_a_place_that_is_named_pack_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim")
    nowhere = Restic("/proc/backpack", tmp_path / "password", tmp_path / "cache")
    with pytest.raises(BackupError) as raised:
        asyncio.run(nowhere.open())
    assert "damaged" not in raised.value.remedy


def stopped(restic: Restic) -> bool:
    """Stop the restic that stores, as one stands still whose uploads have ended, if it is there."""
    for told in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if restic.repository.encode() in told.read_bytes():
                os.kill(int(told.parent.name), signal.SIGSTOP)
                return True
    return False


@pytest.mark.parametrize("how", ["folder", "stream"])
def test_one_that_stands_still_is_not_waited_for(restic: Restic, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(50_000_000))
    restic.stalled = 2.0

    async def story() -> None:
        if how == "folder":
            storing = restic.backup(folder, host="controller", tags=["a"], bound=600)
        else:
            storing = store(restic, (folder / "file").read_bytes())
        task = asyncio.ensure_future(storing)
        while not await asyncio.to_thread(stopped, restic):
            assert not task.done(), "it was over before it could be stopped"
        with pytest.raises(BackupError, match=r"it made no progress for 2 s.* are free there"):
            await task

    asyncio.run(story())


def test_what_it_has_started_ends_with_it(
    restic: Restic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ssh does by which it reaches a repository: it has the pipes that are read here."""
    script = tmp_path / "restic"
    script.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/started\nwait\n")
    script.chmod(0o755)
    monkeypatch.setitem(restic._environment, "PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BackupError, match="did not end within 2 s"):
        asyncio.run(restic.restore("latest", tmp_path, bound=2))
    started = Path("/proc", (tmp_path / "started").read_text().strip(), "stat")
    assert not started.exists() or started.read_text().split()[2] == "Z"


STATUS = """\
{"message_type":"status","percent_done":0,"total_files":1,"bytes_done":3225693}
{"message_type":"status","seconds_elapsed":10,"percent_done":0.49,"total_files":1,"bytes_done":6493}
{"message_type":"status","seconds_elapsed":20,"percent_done":0.49,"total_files":1,"bytes_done":6493}
"""


def test_what_only_tells_that_time_goes_by_is_no_progress() -> None:
    first, second, third = (counts(line) for line in STATUS.splitlines())
    assert first != second == third
    assert counts("restic says something else") == counts("")
