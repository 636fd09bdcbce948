"""Whose turn it is: what strangers cost the event loop is spread over time.

The event loop is that of the watch. A thousand handshakes that arrive at once would make its probes
late, and with them its judgement on hosts and APIs.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

BUDGET = 0.004
"""Seconds of a turn."""
PAUSE = 0.004
"""Seconds between two turns, for everything else that the process does."""

Act = Callable[[], None]


@dataclass(slots=True)
class _Line:
    """What waits of one network: requests to be read, and connections to be started."""

    reads: deque[Act] = field(default_factory=deque)
    starts: list[tuple[Act, float]] = field(default_factory=list)
    began: bool = False

    def __bool__(self) -> bool:
        return bool(self.reads or self.starts)

    def next(self) -> tuple[Act, float]:
        """Return what comes next, and the seconds that it causes later."""
        self.began = bool(self.starts) and not (self.reads and self.began)
        return self.starts.pop() if self.began else (self.reads.popleft(), 0.0)


class Turns:
    """Runs callbacks of strangers one after the other, a few at a time.

    First comes who has been known before, then who holds the fewest connections. Of one network
    requests and new connections take turns: requests in their order, as each connection has one at
    most; new connections the newest first, so that in a flood of them a reader who has just come is
    not the last.
    """

    def __init__(self, rank: Callable[[str], tuple[int, int]]) -> None:
        """Take a function that ranks networks; the lowest comes first."""
        self._rank = rank
        self._waiting: dict[str, _Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._spent = 0.0
        self._since = 0.0

    def take(self, network: str, act: Act, cost: float = 0.0) -> None:
        """Run ``act`` in its turn, which may be now.

        ``cost`` are seconds that it causes later: those of a handshake. It is 0 for a request.
        """
        if self._timer is None:
            now = time.monotonic()
            if now - self._since > PAUSE:
                self._since, self._spent = now, 0.0
            if self._spent < BUDGET:
                self._run(act, cost)
                return
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._turn)
        line = self._waiting.setdefault(network, _Line())
        if cost:
            line.starts.append((act, cost))
        else:
            line.reads.append(act)

    def close(self) -> None:
        """Run nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()

    def _turn(self) -> None:
        self._timer = None
        self._since, self._spent = time.monotonic(), 0.0
        while self._waiting and self._spent < BUDGET:
            network = min(self._waiting, key=self._rank)
            line = self._waiting[network]
            act, cost = line.next()
            if not line:
                del self._waiting[network]
            self._run(act, cost)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._turn)

    def _run(self, act: Act, cost: float) -> None:
        started = time.monotonic()
        act()
        self._spent += time.monotonic() - started + cost
