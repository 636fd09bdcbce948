"""Whether there is time: how long it takes, by when it must begin, when it will. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from backstay.inventory.maintenance import Window
from backstay.maintenance.refusal import Refusal
from backstay.maintenance.windows import Opening, next_opening, open_at, openings
from backstay.quantities import duration

GATE = "window"
_RECENT = 5
_MARGIN = 1.2
"""The longest of the last runs is taken with a fifth more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How long it is expected to take, in seconds, and where that comes from."""

    seconds: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """It may begin ``at``; ``opening`` is the window that it is in, None where none is needed."""

    at: datetime
    opening: Opening | None
    expected: Expected

    @property
    def latest_start(self) -> datetime | None:
        """Return until when it could begin and still be over in the window."""
        return latest_start(self.opening, self.expected) if self.opening else None


def expected(history: Sequence[float], guess: float) -> Expected:
    """Return the expectation from past runs' seconds, the newest first, or else the guess."""
    recent = history[:_RECENT]
    if not recent:
        return Expected(seconds=guess, source="a guess: `expected` under `maintenance`")
    runs = "the last run" if len(recent) == 1 else f"the longest of the last {len(recent)} runs"
    return Expected(seconds=max(recent) * _MARGIN, source=f"{runs}, and a fifth more")


def latest_start(opening: Opening, needed: Expected) -> datetime:
    """Return when it has to begin at the latest to be over when the window closes."""
    return opening.closes - timedelta(seconds=needed.seconds)


def at_instant(
    windows: Mapping[str, Window], at: datetime, needed: Expected, zone: tzinfo | None = None
) -> Go | Refusal:
    """Decide whether it may begin at an instant: where there are windows, only inside one.

    ``zone`` is the zone of times in texts; None is this machine's.
    """
    if not windows:
        return Go(at=at, opening=None, expected=needed)
    found = open_at(windows, at)
    if not found:
        return _none_open(windows, at, needed, zone)
    best = found[0]
    if at > latest_start(best, needed):
        return _too_late(windows, at, best, needed, zone)
    return Go(at=at, opening=best, expected=needed)


def in_window(
    windows: Mapping[str, Window],
    name: str,
    now: datetime,
    needed: Expected,
    zone: tzinfo | None = None,
) -> Go | Refusal:
    """Decide when it begins in a window: now where that is open and long enough, else next time."""
    longest = 0.0
    for candidate in openings(name, windows[name], now):
        begins = max(now, candidate.opens)
        if begins <= latest_start(candidate, needed):
            return Go(at=begins, opening=candidate, expected=needed)
        longest = max(longest, candidate.seconds)
    if not longest:
        reason, remedy = f"window {name} never opens again", "see its days and dates in cloud.yaml"
        return Refusal(gate=GATE, reason=reason, remedy=remedy)
    return Refusal(
        gate=GATE,
        reason=f"window {name} is never open for more than {duration(longest)}; {_takes(needed)}",
        remedy="make the window longer, or name another",
    )


def clock_instant(clock: time, now: datetime, zone: tzinfo) -> datetime:
    """Return the next instant at which the zone's clock shows ``clock``, in UTC."""
    here = now.astimezone(zone)
    for offset in range(2):
        day = here.date() + timedelta(days=offset)
        instant = datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
        if instant > now:
            return instant
    raise AssertionError("a clock shows every time within two days")


def describe_time(instant: datetime, zone: tzinfo | None = None) -> str:
    """Return an instant as operators read it: ``Tue 2026-11-24 01:00 CET``."""
    return instant.astimezone(zone).strftime("%a %Y-%m-%d %H:%M %Z")


def _takes(needed: Expected) -> str:
    return f"it is expected to take {duration(needed.seconds)} ({needed.source})"


def _none_open(
    windows: Mapping[str, Window], at: datetime, needed: Expected, zone: tzinfo | None
) -> Refusal:
    following = next_opening(windows, at)
    opens = (
        f"the next is {following.window}, {describe_time(following.opens, zone)} to "
        f"{describe_time(following.closes, zone)}, latest safe start "
        f"{describe_time(latest_start(following, needed), zone)}"
        if following
        else "none opens again"
    )
    return Refusal(
        gate=GATE,
        reason=f"no window is open at {describe_time(at, zone)}; {opens}; {_takes(needed)}",
        remedy=f"--window {following.window}, or --emergency with --reason"
        if following
        else "correct `windows` in cloud.yaml, or --emergency with --reason",
    )


def _too_late(
    windows: Mapping[str, Window],
    at: datetime,
    best: Opening,
    needed: Expected,
    zone: tzinfo | None,
) -> Refusal:
    following = next_opening(windows, at)
    left = (best.closes - at).total_seconds()
    return Refusal(
        gate=GATE,
        reason=f"window {best.window} closes at {describe_time(best.closes, zone)}, "
        f"{duration(left)} after "
        f"{describe_time(at, zone)}; {_takes(needed)}; the latest safe start is "
        f"{describe_time(latest_start(best, needed), zone)}",
        remedy=f"--window {following.window} ({describe_time(following.opens, zone)}), "
        "or --emergency with "
        "--reason"
        if following
        else "--emergency with --reason",
    )
