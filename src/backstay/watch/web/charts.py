"""Charts as SVG: recent latency, its history, the timeline of an incident. Pure.

Each has a title that says in words what it shows, for screen readers and text browsers.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from itertools import groupby

from backstay.quantities import exact
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.store import Minute

_WIDE, _HIGH = 120, 24


def millis(seconds: float | None) -> str:
    """Return a latency in words: ``0.4 ms``, ``12 ms``, ``1.4 s``, ``-`` if there is none."""
    if seconds is None:
        return "-"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def sparkline(recent: Sequence[tuple[float, float | None]]) -> str:
    """Return recent latencies as a small line, with a vertical bar for each failed probe."""
    if not recent:
        return ""
    first, last = recent[0][0], recent[-1][0]
    whole = max(1.0, last - first)
    top = _top([seconds for _, seconds in recent if seconds is not None])
    failed = [at for at, seconds in recent if seconds is None]
    drawn = [
        f'<rect class="bad" x="{(at - first) / whole * _WIDE:.0f}" y="0" width="2" '
        f'height="{_HIGH}"/>'
        for at in failed
    ]
    for line in _lines(recent):
        points = " ".join(
            f"{(at - first) / whole * _WIDE:.0f},{_HIGH - 2 - seconds / top * (_HIGH - 4):.0f}"
            for at, seconds in line
        )
        drawn.append(f'<polyline points="{points}"/>')
    without = f", {len(failed)} failed" if failed else ""
    title = f"{len(recent)} probes in {exact(whole)}{without}, at most {millis(top)}"
    return (
        f'<svg class="spark" viewBox="0 0 {_WIDE + 2} {_HIGH}" preserveAspectRatio="none" '
        f'role="img" aria-label="{title}">'
        f"<title>{title}</title>{''.join(drawn)}</svg>"
    )


def _top(latencies: Sequence[float]) -> float:
    """Return the top of the scale: never so small that noise looks like a fault."""
    return max(0.05, *latencies) if latencies else 0.05


def _lines(
    recent: Sequence[tuple[float, float | None]],
) -> Iterator[list[tuple[float, float]]]:
    """Yield the stretches without a failed probe."""
    for successful, stretch in groupby(recent, key=lambda probe: probe[1] is not None):
        if successful:
            yield [(at, seconds) for at, seconds in stretch if seconds is not None]


_LEFT, _PLOT, _TALL, _FOOT = 56, 700, 150, 22


def history(minutes: Sequence[Minute], *, since: float, until: float) -> str:
    """Return the probes of a target: median as a line, longest as a shade, failed ones in red.

    Each column is a minute, or as many minutes as one pixel covers. Empty without any minute.
    """
    columns = list(_columns(minutes, since, until))
    if not columns:
        return ""
    top = _top([column[2] for column in columns if column[2] is not None])
    drawn = [*_scale(top), *_clock_marks(since, until)]
    median = []
    for x, middle, slowest, failed in columns:
        if slowest is not None:
            y = _y(slowest, top)
            drawn.append(
                f'<rect class="shade" x="{x:.1f}" y="{y:.1f}" width="1.5" '
                f'height="{_TALL - y:.1f}"/>'
            )
        if failed:
            high = max(3.0, failed * _TALL)
            drawn.append(
                f'<rect class="bad" x="{x:.1f}" y="{_TALL - high:.1f}" width="1.5" '
                f'height="{high:.1f}"/>'
            )
        if middle is not None:
            median.append((x, _y(middle, top)))
    drawn += _stretches(
        median, gap=2.5 * _PLOT * max(60.0, (until - since) / _PLOT) / (until - since)
    )
    asked = sum(minute.asked for minute in minutes)
    answered = sum(minute.answered for minute in minutes)
    highest = max((m.median for m in minutes if m.median is not None), default=None)
    longest = max((m.longest for m in minutes if m.longest is not None), default=None)
    title = (
        f"{asked} probes, {asked - answered} failed; median at most {millis(highest)}, "
        f"longest {millis(longest)}"
    )
    return (
        f'<svg class="history" viewBox="0 0 {_LEFT + _PLOT + 10} {_TALL + _FOOT}" role="img" '
        f'aria-label="{title}"><title>{title}</title>{"".join(drawn)}</svg>'
    )


def _columns(
    minutes: Sequence[Minute], since: float, until: float
) -> Iterator[tuple[float, float | None, float | None, float]]:
    """Yield x, median, longest, and the share of failed probes."""
    whole = max(1.0, until - since)
    width = max(60.0, whole / _PLOT)
    for column, group in groupby(minutes, key=lambda m: int((m.minute * 60 - since) // width)):
        found = list(group)
        medians = [m.median for m in found if m.median is not None]
        longest = [m.longest for m in found if m.longest is not None]
        asked = sum(m.asked for m in found)
        yield (
            _LEFT + max(0.0, min(1.0, column * width / whole)) * _PLOT,
            sorted(medians)[len(medians) // 2] if medians else None,
            max(longest, default=None),
            (asked - sum(m.answered for m in found)) / asked if asked else 0.0,
        )


def _stretches(points: Sequence[tuple[float, float]], *, gap: float) -> Iterator[str]:
    """Yield lines through points at most ``gap`` apart; a single point becomes a dash."""
    stretch: list[tuple[float, float]] = []
    for point in [*points, (math.inf, 0.0)]:
        if stretch and point[0] - stretch[-1][0] > gap:
            last = (stretch[-1][0] + 2, stretch[-1][1])
            drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*stretch, last])
            yield f'<polyline points="{drawn}"/>'
            stretch = []
        stretch.append(point)


def _y(seconds: float, top: float) -> float:
    return _TALL - seconds / top * (_TALL - 10)


def _scale(top: float) -> Iterator[str]:
    for part in (0.0, 0.5, 1.0):
        y = _y(top * part, top)
        yield (
            f'<line class="rule" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="soft" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{millis(top * part) if part else 0}</text>"
        )


def _clock_marks(since: float, until: float) -> Iterator[str]:
    whole = max(1.0, until - since)
    every = next(
        (step for step in (60, 300, 600, 1800, 3600, 10800, 21600, 86400) if whole / step <= 8),
        4 * 86400,
    )
    form = "%H:%M" if every < 86400 else "%d %b"
    at = since - since % every + every
    while at < until:
        x = _LEFT + (at - since) / whole * _PLOT
        text = datetime.fromtimestamp(at).astimezone().strftime(form)
        yield (
            f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_TALL}"/>'
            f'<text class="soft" x="{x:.1f}" y="{_TALL + 16}" text-anchor="middle">{text}</text>'
        )
        at += every


def timeline(incident: Incident, now: float) -> str:
    """Return an incident on a line from its first symptom to its end, or to ``now``."""
    until = incident.closed or now
    whole = max(1.0, until - incident.began)
    left, wide = 10, 740

    def x(at: float) -> float:
        return left + max(0.0, min(1.0, (at - incident.began) / whole)) * wide

    marks = "".join(
        f'<circle class="{escape(entry.kind)}" cx="{x(entry.at):.1f}" cy="22" r="6">'
        f"<title>{escape(entry.kind)} after {exact(entry.at - incident.began)}</title></circle>"
        for entry in incident.timeline
    )
    state = "resolved after" if incident.closed else "open for"
    title = f"from the first symptom to {'the end' if incident.closed else 'now'}: {exact(whole)}"
    return (
        f'<svg class="timeline-chart" viewBox="0 0 {wide + 2 * left} 56" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<line class="{"resolved" if incident.closed else "open"}" x1="{left}" '
        f'x2="{left + wide}" y1="22" y2="22"/>{marks}'
        f'<text class="soft" x="{left}" y="50">first symptom</text>'
        f'<text class="soft" x="{left + wide}" y="50" text-anchor="end">{state} {exact(whole)}'
        "</text></svg>"
    )
