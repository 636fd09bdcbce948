"""When windows are open. Pure; all instants are aware and in UTC.

A window belongs to the day on which it opened: one of Friday 22:00 to 04:00 is open on Saturday at
02:00. What its clock jumps over at a change to summer time opens as much later; of an hour that
comes twice the first is meant.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from backstay.inventory.maintenance import LONGEST, Window

_BEFORE = timedelta(seconds=LONGEST, days=2)
_AHEAD = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Opening:
    """One time that a window is open: from ``opens`` until just before ``closes``."""

    opens: datetime
    closes: datetime
    window: str
    day: date

    @property
    def seconds(self) -> float:
        """Return for how long it is open."""
        return (self.closes - self.opens).total_seconds()


def opening(name: str, window: Window, day: date) -> Opening | None:
    """Return the opening that belongs to a day of the window's own calendar, if there is one."""
    if day.weekday() not in window.days or day in window.closed:
        return None
    opens = _instant(day, window.start, window.zone)
    if window.end is None:
        closes = opens + timedelta(seconds=window.duration or 0.0)
    else:
        last = day if window.end > window.start else day + timedelta(days=1)
        closes = _instant(last, window.end, window.zone)
    if closes <= opens:  # the clock jumped over all of it
        return None
    return Opening(opens=opens, closes=closes, window=name, day=day)


def openings(name: str, window: Window, at: datetime) -> Iterator[Opening]:
    """Give the openings that are not over at ``at``, in order, for more than a year ahead."""
    first = (at - _BEFORE).astimezone(ZoneInfo(window.zone)).date()
    for offset in range((_BEFORE + _AHEAD).days):
        found = opening(name, window, first + timedelta(days=offset))
        if found is not None and found.closes > at:
            yield found


def open_at(windows: Mapping[str, Window], at: datetime) -> list[Opening]:
    """Return the openings that are open at ``at``, the one that closes last first."""
    found = [
        candidate
        for name, window in windows.items()
        for candidate in openings(name, window, at)
        if candidate.opens <= at
    ]
    return sorted(found, key=lambda candidate: candidate.closes, reverse=True)


def next_opening(windows: Mapping[str, Window], at: datetime) -> Opening | None:
    """Return the first opening that begins after ``at``."""
    found = [
        next((one for one in openings(name, window, at) if one.opens > at), None)
        for name, window in windows.items()
    ]
    return min((one for one in found if one is not None), default=None)


def _instant(day: date, clock: time, zone: str) -> datetime:
    # A clock that the zone skips counts by the offset before the gap (PEP 495), so it comes later.
    return datetime.combine(day, clock.replace(fold=0), tzinfo=ZoneInfo(zone)).astimezone(UTC)
