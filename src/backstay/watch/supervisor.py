"""Parts of the watch that run forever: restarted when they fail, and what is wrong with them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from backstay.errors import BackstayError, own_error

FIRST = 1.0
LONGEST = 30.0
"""Seconds until a part that failed is restarted: at first, and when it fails again and again."""
STEADY = 60.0
"""A part that has run for so many seconds is no longer one that fails again and again."""


class TaskSupervisor:
    """Keeps tasks running. ``say`` reports each that failed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._wrong: dict[str, str] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with parts now, in words."""
        return tuple(f"{name}: {why}" for name, why in self._wrong.items())

    async def keep(
        self, name: str, begin: Callable[[], Awaitable[None]], *, longest: float = LONGEST
    ) -> None:
        """Run a part forever; restart it whenever it fails, later each time."""
        pause = FIRST
        while True:
            started = time.monotonic()
            running = asyncio.ensure_future(self._run(name, begin, started))
            try:
                why = await running
            finally:
                running.cancel()
            if self._wrong.get(name) != why:
                self._say(f"{name}: {why}; it is restarted")
            self._wrong[name] = why
            pause = FIRST if time.monotonic() - started > STEADY else min(pause * 2, longest)
            await asyncio.sleep(pause)

    async def _run(self, name: str, begin: Callable[[], Awaitable[None]], started: float) -> str:
        """Run a part to its end; return why it has ended."""
        works = asyncio.get_running_loop().call_later(FIRST * 2, self._wrong.pop, name, None)
        try:
            await begin()
        except BackstayError as error:
            return f"{error.attempted}: {error.came_back}; what to do: {error.remedy}"
        except Exception as error:
            return own_error(error)
        finally:
            works.cancel()
        return f"it ended by itself after {time.monotonic() - started:.0f} s"


async def first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Do all at once until the first has ended; raise what it raised. The others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
