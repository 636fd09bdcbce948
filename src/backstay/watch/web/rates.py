"""How often something may happen: requests, and lines of the log."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable


class Rates:
    """Allows each owner ``rate`` a second, and ``burst`` at once; remembers ``most`` owners.

    Forgetting the least recent one gives it its whole burst again: choose the total accordingly.
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: float,
        most: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, owner: str) -> bool:
        """Return whether one more is allowed, and count it."""
        now = self._clock()
        left, at = self._left.get(owner, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        allowed = left >= 1.0
        self._left[owner] = (left - 1.0 if allowed else left, now)
        self._left.move_to_end(owner)
        while len(self._left) > self._most:
            self._left.popitem(last=False)
        return allowed


class SeldomFilter(logging.Filter):
    """Lets a few records of a logger pass in a minute, and none below ERROR."""

    def __init__(self) -> None:
        super().__init__()
        self._rates = Rates(rate=6 / 60, burst=6)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        return record.levelno >= logging.ERROR and self._rates.allow("")


class Summary:
    """Counts what happens too often for a line each, and logs one line a minute about it."""

    EVERY = 60.0
    LEAST = 20

    def __init__(
        self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._clock = log, clock
        self._counts: dict[str, int] = {}
        self._since = clock()

    def count(self, what: str) -> None:
        """Count one more of something; the kinds are few."""
        now = self._clock()
        self._counts[what] = self._counts.get(what, 0) + 1
        if now - self._since < self.EVERY:
            return
        if sum(self._counts.values()) >= self.LEAST:
            found = ", ".join(f"{count} {kind}" for kind, count in sorted(self._counts.items()))
            self._log(f"the page closed connections within {now - self._since:.0f} s: {found}")
        self._counts, self._since = {}, now
