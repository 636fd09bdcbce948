"""How long ago was it? Clocks that are set must not make what is old fresh again.

Within one boot of a machine its time since boot counts, which nobody sets and which goes on while
the machine sleeps. Across boots, and for times that others wrote down, there is only the wall
clock: a time in the future is never fresh.
"""

import functools
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST = 10_000
SLACK = 2.0
"""Seconds by which two clocks, or two readings of one, may differ."""


def since_boot() -> float:
    """Return seconds since this machine booted, those included that it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@functools.cache
def this_boot() -> str:
    """Return the id of this boot of the machine, empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time: by the wall clock (Unix seconds), and since which boot of which machine.

    ``boot`` is empty where only the wall clock is known, as in results of older versions.
    """

    at: float
    boot: str = ""
    up: float = 0.0

    def age(self) -> float:
        """Return how many seconds ago it was; infinite for a time that is in the future."""
        if self.boot and self.boot == this_boot():
            age = since_boot() - self.up
        else:
            age = time.time() - self.at
        return age if age >= -SLACK else math.inf


def moment() -> Moment:
    """Return the time it is."""
    return Moment(at=time.time(), boot=this_boot(), up=since_boot())


class Ages:
    """Ages of times by the wall clock that others wrote down, which grow as time really passes.

    The first time that one is asked for its age is by the wall clock, 0 where it is in the future;
    from then on seconds since boot are added. ``wall`` and ``up`` are the two clocks.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, up: Callable[[], float] = since_boot
    ) -> None:
        self._wall, self._up = wall, up
        self._first = OrderedDict[float, tuple[float, float]]()

    def of(self, at: float) -> float:
        """Return how many seconds ago a time was, in Unix seconds: 0 or more."""
        if at not in self._first:
            self._first[at] = (max(0.0, self._wall() - at), self._up())
            if len(self._first) > MOST:
                self._first.popitem(last=False)
        age, since = self._first[at]
        return age + max(0.0, self._up() - since)
