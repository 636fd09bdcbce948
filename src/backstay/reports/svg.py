"""A timeline as a picture in a page: phases above, outages below them, all on one scale."""

from collections.abc import Iterator, Sequence
from html import escape

from backstay.journal.records import StepState
from backstay.quantities import exact
from backstay.reports.timeline import OutageLine, Phase

_ROW = 26
_LEFT = 190
_WIDE = 700
_RIGHT = 110


def timeline_svg(phases: Sequence[Phase], lines: Sequence[OutageLine]) -> str:
    """Return the timeline: phases above, then a line for each API and instance."""
    if not phases:
        return ""
    begins = phases[0].begins
    whole = max(1.0, max(phase.ends for phase in phases) - begins)
    rows = len(phases) + len(lines)
    height = _ROW * (rows + 1) + 10
    drawn = [_axis(whole, height)]
    for row, phase in enumerate(phases):
        drawn += _phase(row, phase, begins, whole)
    for row, line in enumerate(lines, len(phases)):
        drawn += _outages(row, line, begins, whole)
    box = f"0 0 {_LEFT + _WIDE + _RIGHT} {height}"
    return f'<svg viewBox="{box}" role="img" aria-label="timeline">{"".join(drawn)}</svg>'


def _axis(whole: float, height: int) -> str:
    every = next(step for step in (1, 5, 10, 30, 60, 300, 900, 3600, 86400) if whole / step <= 8)
    drawn = []
    for tick in range(0, int(whole) + 1, every):
        x = _LEFT + tick / whole * _WIDE
        drawn.append(
            f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}"/>'
            f'<text class="soft" x="{x:.1f}" y="{height - 6}" text-anchor="middle">'
            f"{exact(tick)}</text>"
        )
    return "".join(drawn)


def _phase(row: int, phase: Phase, begins: float, whole: float) -> Iterator[str]:
    taken = phase.ends - phase.begins
    kind = "bad" if phase.state is StepState.FAILED else "busy"
    yield _label(row, phase.name, exact(taken))
    yield _bar(row, kind, phase.begins - begins, taken, whole)


def _outages(row: int, line: OutageLine, begins: float, whole: float) -> Iterator[str]:
    yield _label(row, f"{line.kind} {line.what}", f"{line.down:.1f} s out")
    if line.asked:
        yield _bar(row, "good", 0.0, whole, whole, thin=True)
    for outage in line.outages:
        lasted = (outage.ends or begins + whole) - outage.begins
        yield _bar(row, "bad", outage.begins - begins, lasted, whole)


def _label(row: int, left: str, right: str) -> str:
    y = row * _ROW + 18
    return (
        f'<text x="{_LEFT - 10}" y="{y}" text-anchor="end">{escape(left)}</text>'
        f'<text class="soft" x="{_LEFT + _WIDE + 8}" y="{y}">{escape(right)}</text>'
    )


def _bar(row: int, kind: str, at: float, taken: float, whole: float, *, thin: bool = False) -> str:
    x = _LEFT + max(0.0, min(1.0, at / whole)) * _WIDE
    wide = max(2.0, min(_LEFT + _WIDE - x, taken / whole * _WIDE))
    y, high = (row * _ROW + 12, 3) if thin else (row * _ROW + 6, 15)
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{high}" rx="2"/>'
