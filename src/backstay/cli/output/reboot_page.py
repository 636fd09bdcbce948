"""The report of a reboot as one HTML page that needs nothing else, with the timeline drawn."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from backstay.cli.output.reboot_text import agents_line
from backstay.health.words import duration
from backstay.journal.records import RunRecord, StepState
from backstay.runbooks.reboot.report import HostReport, Line, Phase

_ROW = 26
_LEFT = 190
_WIDE = 700
_RIGHT = 110
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1c20; --paper: #fff; --soft: #667; --rule: #d8dbe2;
  --good: #2e7d4f; --bad: #c62828; --busy: #2f6fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --paper: #16181c; --soft: #9aa1ad;
  --rule: #353a42; --good: #4fae78; --bad: #ef5350; --busy: #5a9bdc; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1060px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; }
p { margin: .2rem 0; } .soft { color: var(--soft); }
.done { color: var(--good); } .failed, .refused { color: var(--bad); }
svg { width: 100%; height: auto; margin-top: .6rem; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .rule { stroke: var(--rule); }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); } svg .busy { fill: var(--busy); }
table { border-collapse: collapse; margin-top: .6rem; }
td, th { padding: .15rem 1.2rem .15rem 0; text-align: left; border-bottom: 1px solid var(--rule); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def page(run: RunRecord, reports: Sequence[HostReport]) -> str:
    """Return the whole page."""
    title = f"{run.plan.runbook} of {', '.join(run.plan.targets)}"
    why = " ".join(filter(None, (run.ticket, run.reason)))
    took = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    body = [
        f'<h1>{escape(title)}: <span class="{run.state}">{run.state}</span>{took}</h1>',
        f'<p class="soft">{escape(run.id)}, cloud {escape(run.plan.cloud)}, begun '
        f"{_clock(run.began or run.made)} by {escape(run.who)}{escape(f': {why}' if why else '')}"
        "</p>",
        *_failure(run),
    ]
    for report in reports:
        body += _host(report)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _failure(run: RunRecord) -> Iterator[str]:
    for step in run.steps:
        if step.state is StepState.FAILED:
            told = f"{step.error['attempted']}: {step.error['came_back']}"
            yield f'<p class="failed">{escape(told)}</p>'
            yield f"<p>What to do: {escape(step.error['remedy'])}</p>"


def _host(report: HostReport) -> Iterator[str]:
    yield f"<h2>{escape(report.host)}</h2>"
    words = []
    if report.away is not None:
        by = " by its BMC" if report.cycled else ""
        words.append(
            f"rebooted{by}: boot id {escape(report.boot_before)} → {escape(report.boot_after)}"
        )
        words.append(f"away for {report.away:.0f} s")
    if report.well is not None:
        past = f" (before: {report.past_well:.0f} s)" if report.past_well is not None else ""
        words.append(f"everything well after {report.well:.0f} s{past}")
    yield f"<p>{', '.join(words) or 'not seen to have rebooted'}.</p>"
    if report.agents:
        yield f"<p>{escape(agents_line(report))}.</p>"
    if not report.whole:
        yield "<p>The run was interrupted: what was out meanwhile was not seen.</p>"
    yield _drawing(report)
    if report.lines:
        yield "<table><tr><th>what users saw</th><th>out for</th><th>last runs</th>"
        yield "<th>unanswered</th></tr>"
        yield from (_row(line) for line in report.lines)
        yield "</table>"


def _row(line: Line) -> str:
    past = f"{line.past:.1f} s" if line.past is not None else ""
    return (
        f"<tr><td>{escape(line.kind)} {escape(line.what)}</td>"
        f'<td class="number">{line.down:.1f} s</td><td class="number">{past}</td>'
        f'<td class="number">{line.unanswered} of {line.asked}</td></tr>'
    )


def _drawing(report: HostReport) -> str:
    """Return the timeline: phases above, then a line for each API and instance."""
    if not report.phases:
        return ""
    begins = report.phases[0].begins
    whole = max(1.0, max(phase.ends for phase in report.phases) - begins)
    rows = len(report.phases) + len(report.lines)
    height = _ROW * (rows + 1) + 10
    drawn = [_axis(whole, height)]
    for row, phase in enumerate(report.phases):
        drawn += _phase(row, phase, begins, whole)
    for row, line in enumerate(report.lines, len(report.phases)):
        drawn += _outages(row, line, begins, whole)
    box = f"0 0 {_LEFT + _WIDE + _RIGHT} {height}"
    return f'<svg viewBox="{box}" role="img" aria-label="timeline">{"".join(drawn)}</svg>'


def _axis(whole: float, height: int) -> str:
    every = next(step for step in (1, 5, 10, 30, 60, 300, 900, 3600, 86400) if whole / step <= 12)
    drawn = []
    for tick in range(0, int(whole) + 1, every):
        x = _LEFT + tick / whole * _WIDE
        drawn.append(
            f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}"/>'
            f'<text class="soft" x="{x:.1f}" y="{height - 6}" text-anchor="middle">'
            f"{duration(tick)}</text>"
        )
    return "".join(drawn)


def _phase(row: int, phase: Phase, begins: float, whole: float) -> Iterator[str]:
    taken = phase.ends - phase.begins
    kind = "bad" if phase.state is StepState.FAILED else "busy"
    yield _label(row, phase.name, duration(taken))
    yield _bar(row, kind, phase.begins - begins, taken, whole)


def _outages(row: int, line: Line, begins: float, whole: float) -> Iterator[str]:
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


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
