"""Blocking calls on threads: bounded, and given up at once."""

import asyncio
import time

import pytest

from backstay.transports.threads import on_thread


def test_a_cancellation_that_comes_with_the_answer_is_not_lost() -> None:
    async def story() -> None:
        task = asyncio.ensure_future(on_thread(lambda: 1, 5))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - the answer of the thread waits for the loop now
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_a_call_that_hangs_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(on_thread(lambda: time.sleep(5), 0.05))
