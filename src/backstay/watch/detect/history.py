"""How quick things were: the last two minutes for the page, whole minutes for the journal."""

import statistics
from collections import defaultdict, deque

from backstay.watch.detect.probe import ProbeResult
from backstay.watch.incidents.store import Minute

RECENT = 120
Point = tuple[float, float | None]


class History:
    """Gathers signs that have a latency, good and bad ones."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[Point]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._minutes: dict[int, dict[str, list[float | None]]] = {}
        self._timed: set[str] = set()

    def take(self, sign: ProbeResult) -> None:
        """Take one sign. What has never had a latency has no history."""
        key = sign.subject.key
        if sign.seconds is not None:
            self._timed.add(key)
        if key not in self._timed or not (sign.good or sign.bad):
            return
        self._recent[key].append((sign.at, sign.seconds))
        minute = self._minutes.setdefault(int(sign.at // 60), {})
        minute.setdefault(key, []).append(sign.seconds)

    def recent(self, key: str) -> tuple[Point, ...]:
        """Return a subject's last answers, oldest first."""
        return tuple(self._recent[key]) if key in self._recent else ()

    def finished(self, now: float) -> list[Minute]:
        """Return the minutes that are over, and forget them."""
        over = [minute for minute in self._minutes if minute < int(now // 60)]
        return [
            _minute(minute, one) for minute in over for one in self._minutes.pop(minute).items()
        ]


def _minute(minute: int, one: tuple[str, list[float | None]]) -> Minute:
    key, seconds = one
    came = [second for second in seconds if second is not None]
    return Minute(
        subject=key,
        minute=minute,
        asked=len(seconds),
        answered=len(came),
        median=statistics.median(came) if came else None,
        longest=max(came, default=None),
    )
