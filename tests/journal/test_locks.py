"""Locks between operators: real files, real processes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.errors import BackstayError
from backstay.journal.locks import LockHeld, held

HOLD = """
import asyncio, sys
from backstay.journal.locks import held
async def main():
    async with held(sys.argv[1], ["lab"], lambda name: ""):
        print("held", flush=True)
        sys.stdin.read()
asyncio.run(main())
"""


async def take(url: str) -> None:
    async with held(
        url, ["lab", "lab/controller"], lambda name: f"ann, process 7 ({name})"
    ) as mine:
        await mine.still()


def test_taken_let_go_and_taken_again(tmp_path: Path) -> None:
    asyncio.run(take(f"file://{tmp_path}"))
    asyncio.run(take(f"file://{tmp_path}"))


def test_held_by_another_process_then_killed(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(LockHeld, match=r"held by ann, process 7 \(lab\)"):
        asyncio.run(take(url))
    other.kill()
    other.communicate()
    asyncio.run(take(url))


@pytest.mark.parametrize("url", ["etcd3+http://127.0.0.1:1", "nonsense://x", "file:///proc/x"])
def test_a_keeper_that_cannot_be_used(url: str) -> None:
    with pytest.raises(BackstayError) as raised:
        asyncio.run(take(url))
    assert "BACKSTAY_LOCKS" in raised.value.remedy
