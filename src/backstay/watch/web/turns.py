"""Whose turn it is: what strangers cost the event loop is spread over time.

The event loop is that of the watch. A thousand handshakes that arrive at once would make its probes
late, and with them its judgement on hosts and APIs.
"""

import asyncio
import time
from collections.abc import Callable

BUDGET = 0.004
"""Seconds of a turn."""
PAUSE = 0.008
"""Seconds between two turns, for everything else that the process does."""


class Turns:
    """Runs callbacks of strangers one after the other, a few at a time.

    First comes who has been known before, then who holds the fewest connections, of those of one
    network the newest: in a flood of old ones a reader who has just come is not the last.
    """

    def __init__(self, rank: Callable[[str], tuple[int, int]]) -> None:
        """Take a function that ranks networks; the lowest comes first."""
        self._rank = rank
        self._waiting: dict[str, list[tuple[Callable[[], None], float]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._spent = 0.0
        self._since = 0.0

    def take(self, network: str, act: Callable[[], None], cost: float = 0.0) -> None:
        """Run ``act`` in its turn, which may be now; ``cost`` are seconds that it causes later."""
        if self._timer is None:
            now = time.monotonic()
            if now - self._since > PAUSE:
                self._since, self._spent = now, 0.0
            if self._spent < BUDGET:
                self._run(act, cost)
                return
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._turn)
        self._waiting.setdefault(network, []).append((act, cost))

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
            mine = self._waiting[network]
            act, cost = mine.pop()
            if not mine:
                del self._waiting[network]
            self._run(act, cost)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._turn)

    def _run(self, act: Callable[[], None], cost: float) -> None:
        started = time.monotonic()
        act()
        self._spent += time.monotonic() - started + cost
