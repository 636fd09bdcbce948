"""Wait for a condition: it is checked again and again, and progress is reported."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from backstay.access.session import describe_findings, name_findings
from backstay.errors import BackstayError
from backstay.finding import Finding
from backstay.journal.action import Running

T = TypeVar("T")
PAUSE = 2.0
"""Seconds between two checks: each costs the host that is coming up some of its time."""
_MARGIN = 3.0
"""An action ends this long before its bound, so that it can still report what was missing."""


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


async def until_healthy(
    running: Running,
    check: Callable[[], Awaitable[Sequence[Finding]]],
    *,
    attempted: str,
    remedy: str,
    lasting: float = 0.0,
    pause: float = PAUSE,
) -> float:
    """Wait until ``check`` returns no findings for ``lasting`` seconds; return how long it took.

    ``pause`` is how many seconds lie between two checks. Raises BackstayError naming the findings
    that are left when the step's bound is near.
    """
    health = _Health(running, check, lasting)
    took = await until(health.ask, bound=running.step.bound - _MARGIN, pause=pause)
    if took is not None:
        return took
    left = health.left
    raise BackstayError(
        attempted,
        came_back=f"not within {running.step.bound:g} s: {health.missing()}",
        remedy=left[0].remedy if left and left[0].remedy else remedy,
    )


@dataclass
class _Health:
    """What ``until_healthy`` has found so far; times are those of the monotonic clock."""

    running: Running
    check: Callable[[], Awaitable[Sequence[Finding]]]
    lasting: float
    started: float = field(default_factory=time.monotonic)
    left: Sequence[Finding] = ()
    healthy_since: float | None = None
    reported: str = ""

    async def ask(self) -> float | None:
        """Check once; return for how long it was waited once it has lasted, None until then."""
        self.left = await self.check()
        now = time.monotonic()
        if self.left:
            self.healthy_since = None
            text = f"waiting for {name_findings(self.left)}"
            if text != self.reported:
                self.running.report(text)
            self.reported = text
            return None
        since = now if self.healthy_since is None else self.healthy_since
        self.healthy_since = since
        return now - self.started if now - since >= self.lasting else None

    def missing(self) -> str:
        """Return what is missing still."""
        if self.healthy_since:
            return f"healthy only for {time.monotonic() - self.healthy_since:.0f} s"
        return describe_findings(self.left)
