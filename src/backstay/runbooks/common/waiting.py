"""Waiting for what must become true, asked again and again, with a word now and then."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from backstay.access.session import describe_findings, name_findings
from backstay.errors import BackstayError
from backstay.finding import Finding
from backstay.journal.action import Running

T = TypeVar("T")
PAUSE = 2.0
"""Seconds between two looks: each costs the host that is coming up some of its time."""
_MARGIN = 3.0
"""An action ends this long before its bound, so that it can still say what was missing."""


async def until(
    ask: Callable[[], Awaitable[T | None]], *, bound: float, pause: float = PAUSE
) -> T | None:
    """Return the first answer that is not None, or None after ``bound`` seconds."""
    ends = time.monotonic() + bound
    while True:
        with_bound = max(0.1, ends - time.monotonic())
        try:
            async with asyncio.timeout(with_bound):
                answer = await ask()
        except TimeoutError:
            return None
        if answer is not None or time.monotonic() + pause >= ends:
            return answer
        await asyncio.sleep(pause)


async def until_well(
    running: Running,
    look: Callable[[], Awaitable[Sequence[Finding]]],
    *,
    attempted: str,
    remedy: str,
    lasting: float = 0.0,
    pause: float = PAUSE,
) -> float:
    """Wait until ``look`` gives no findings for ``lasting`` seconds; return how long it all took.

    ``pause`` is for how many seconds it looks away in between.

    Raises BackstayError naming what is left when the step's bound is near.
    """
    begun = time.monotonic()
    left: Sequence[Finding] = ()
    well_since: float | None = None
    said = ""

    async def ask() -> float | None:
        nonlocal left, well_since, said
        left = await look()
        now = time.monotonic()
        if left:
            well_since = None
            said = _say(running, f"waiting for {name_findings(left)}", said)
            return None
        well_since = now if well_since is None else well_since
        return now - begun if now - well_since >= lasting else None

    took = await until(ask, bound=running.step.bound - _MARGIN, pause=pause)
    if took is not None:
        return took
    for_ = (
        f"well only since {time.monotonic() - well_since:.0f} s"
        if well_since
        else describe_findings(left)
    )
    raise BackstayError(
        attempted,
        came_back=f"not within {running.step.bound:g} s: {for_}",
        remedy=left[0].remedy if left and left[0].remedy else remedy,
    )


def _say(running: Running, text: str, said: str) -> str:
    if text != said:
        running.report(text)
    return text
