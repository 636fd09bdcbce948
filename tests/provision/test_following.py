"""A long command that outlives its starter: started once, followed by any later process."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay.provision import following, onhost
from backstay.provision.following import LongCommand, ask_here
from backstay.provision.work import AWAIT, Work

pytestmark = pytest.mark.skipif(
    Path("/run/systemd/system").exists(), reason="would make units on this machine"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PATIENCE", 0.3)


def command(folder: Path) -> LongCommand:
    return LongCommand(
        "backstay-t-1",
        ask_here,
        host="spare1",
        folder=str(folder / "there"),
        log=folder / "here" / "t.log",
    )


def work(script: str, good: frozenset[int] = frozenset({0})) -> Work:
    return Work(name="t", does="running it", script=script, good=good)


async def eventually(happened: Callable[[], bool], bound: float = 10) -> None:
    until = time.monotonic() + bound
    while not happened():
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


def test_it_runs_once_for_all_who_begin_it_and_its_whole_log_comes_here(tmp_path):
    async def story() -> list[str]:
        told: list[str] = []
        it = work(
            f"echo one >> {tmp_path}/runs; echo first; sleep 1; echo last; exit 2",
            frozenset({0, 2}),
        )
        await command(tmp_path).begin(it, bound=60)
        await command(tmp_path).begin(it, bound=60)
        assert await command(tmp_path).follow(it, say=told.append) == "first\nlast\n"
        await command(tmp_path).begin(it, bound=60)
        return told

    told = asyncio.run(story())
    assert told[-1] == "last"
    assert (tmp_path / "runs").read_text() == "one\n"
    assert (tmp_path / "here" / "t.log").read_text() == "first\nlast\n"


def test_whoever_comes_later_gets_what_is_new_only(tmp_path):
    async def story() -> None:
        it = work(f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; echo last")
        await command(tmp_path).begin(it, bound=60)
        following_it = asyncio.create_task(command(tmp_path).follow(it, say=lambda _: None))
        await eventually((tmp_path / "here" / "t.read").exists)
        following_it.cancel()
        (tmp_path / "go").touch()
        assert await command(tmp_path).follow(it, say=lambda _: None) == "last\n"

    asyncio.run(story())
    assert (tmp_path / "here" / "t.log").read_text() == "first\nlast\n"


def test_what_was_begun_early_changes_nothing_before_it_is_let_go(tmp_path):
    async def story() -> None:
        it = work(f"echo early; {AWAIT}; echo changes; test -e {tmp_path}/repaired")
        one = command(tmp_path)
        await one.begin(it, bound=60)
        following_it = asyncio.create_task(one.follow(it, say=lambda _: None))
        await eventually((tmp_path / "here" / "t.read").exists)
        assert (tmp_path / "here" / "t.log").read_text() == "early\n"
        assert not following_it.done()
        await one.let_go()
        with pytest.raises(BackstayError):
            await following_it
        # Once let go it is not held again: whoever resumes waits for nobody.
        (tmp_path / "repaired").touch()
        await one.again()
        await one.begin(it, bound=60)
        assert (await one.follow(it, say=lambda _: None)).endswith("changes\n")

    asyncio.run(story())


def test_a_failure_says_why_and_where_the_log_is_and_may_be_done_again(tmp_path):
    async def story() -> None:
        it = work(f"echo 'E: no room'; echo bye; test -e {tmp_path}/repaired")
        await command(tmp_path).begin(it, bound=60)
        with pytest.raises(BackstayError) as caught:
            await command(tmp_path).follow(it, say=lambda _: None)
        assert caught.value.came_back == "it ended with 1: E: no room"
        assert str(tmp_path / "here" / "t.log") in caught.value.remedy
        (tmp_path / "repaired").touch()
        await command(tmp_path).begin(it, bound=60)  # it has ended: nothing is started
        assert (await command(tmp_path).state()).status == 1
        await command(tmp_path).again()
        await command(tmp_path).begin(it, bound=60)
        await command(tmp_path).follow(it, say=lambda _: None)

    asyncio.run(story())


def test_its_secrets_are_neither_shown_nor_in_the_log_here(tmp_path):
    async def story() -> str:
        told: list[str] = []
        it = replace(
            work("echo 'option --password hunter22'; sleep 1; echo 'E: hunter22?'; exit 1"),
            secrets=frozenset({"hunter22"}),
        )
        await command(tmp_path).begin(it, bound=60)
        with pytest.raises(BackstayError) as caught:
            await command(tmp_path).follow(it, say=told.append)
        with pytest.raises(BackstayError) as again:  # of the log that is here
            await command(tmp_path).follow(it, say=told.append)
        assert caught.value.came_back == again.value.came_back == "it ended with 1: E: …?"
        return "".join(told)

    assert "hunter22" not in asyncio.run(story())
    assert "hunter22" not in (tmp_path / "here" / "t.log").read_text()


def test_one_that_was_killed_is_no_success_and_may_be_begun_again(tmp_path):
    async def story() -> None:
        it = work("sleep 60")
        await command(tmp_path).begin(it, bound=60)
        pid = int((tmp_path / "there" / "backstay-t-1" / "pid").read_text().split()[0])
        assert onhost.since(pid)
        os.killpg(pid, signal.SIGKILL)
        with pytest.raises(BackstayError, match="it was killed"):
            await command(tmp_path).follow(it, say=lambda _: None)
        assert not (await command(tmp_path).state()).started

    asyncio.run(story())


def test_a_script_and_its_log_are_for_their_owner_only(tmp_path):
    async def story() -> None:
        it = work("echo secret")
        await command(tmp_path).begin(it, bound=60)
        await command(tmp_path).follow(it, say=lambda _: None)

    asyncio.run(story())
    for file in (tmp_path / "there" / "backstay-t-1" / "script", tmp_path / "here" / "t.log"):
        assert file.stat().st_mode & 0o077 == 0
