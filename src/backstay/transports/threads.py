"""Blocking calls on threads that never hold anything up."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from backstay.transports.deadline import Deadline, watched

T = TypeVar("T")


async def on_thread(call: Callable[[], T], bound: float) -> T:
    """Return what ``call`` returns, or raise what it raises; TimeoutError after ``bound`` seconds.

    A call that hangs is left behind on its daemon thread; the connections that it has open (as far
    as they were given to ``deadline.watch``) are shut down, so that it ends. The event loop's own
    threads would be waited for at the end of the program:
    https://docs.python.org/3/library/asyncio-runner.html
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    ends = Deadline()

    def settle(outcome: Callable[[], None]) -> None:
        if not answer.done():
            outcome()

    def work() -> None:
        try:
            with watched(ends):
                value = call()
        except Exception as error:
            outcome = partial(answer.set_exception, error)
        else:
            outcome = partial(answer.set_result, value)
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, daemon=True).start()
    try:
        # asyncio.wait_for loses a cancellation that comes with the answer:
        # https://github.com/python/cpython/issues/86296
        async with asyncio.timeout(bound):
            return await answer
    finally:
        ends.end()
