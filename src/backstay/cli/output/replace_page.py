"""The report of a replacement as one HTML page that needs nothing else, with the timeline drawn."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from backstay.cli.output import page as frame
from backstay.cli.output.replace_text import (
    after_lines,
    clean_line,
    data_lines,
    death,
    headline,
    waited,
    watch_lines,
)
from backstay.journal.records import RunRecord, StepState
from backstay.quantities import exact
from backstay.reports.svg import drawing
from backstay.runbooks.replace.report import Part, Report

_KINDS = {"+": "done", "-": "failed", "@": "soft"}


def page(run: RunRecord, reports: Sequence[Report]) -> str:
    """Return the whole page."""
    return frame.page(run, (line for report in reports for line in _report(report)))


def _report(report: Report) -> Iterator[str]:
    kind = {True: "done", False: "failed", None: "failed"}[report.within]
    yield f"<h2>{escape(report.host)} on {escape(report.spare)}</h2>"
    yield f'<p class="{kind}">{escape(headline(report))}.</p>'
    yield f"<p>{escape(death(report))}.</p>"
    yield from [f"<p>{escape(report.stands)}.</p>"] if report.stands else []
    yield drawing(report.phases, report.watch.lines if report.watch else ())
    yield from _clock(report.phases)
    yield "<h2>Data</h2>"
    yield from _list(data_lines(report))
    yield "<h2>What users saw</h2>"
    if report.watch is not None:
        yield from frame.outages(report.watch.lines, past=False)
    yield from _list(watch_lines(report))
    yield "<h2>Afterwards</h2>"
    yield from _list(after_lines(report))
    if report.diff:
        done = "is changed so" if not report.by_hand else "is to be changed so by hand"
        yield f"<p>cloud.yaml {done}:</p>"
        yield f"<pre>{chr(10).join(_difference(report.diff))}</pre>"
    if report.witnesses:
        yield "<h2>Who found it dead</h2>"
        yield "<table><tr><th>witness</th><th>says</th></tr>"
        for name, says in report.witnesses:
            yield f"<tr><td>{escape(name)}</td><td>{escape(says)}</td></tr>"
        yield "</table>"


def _clock(phases: Sequence[Part]) -> Iterator[str]:
    """Give a row for each phase: how long it took, and how long nothing else went on."""
    yield "<table><tr><th>phase</th><th>took</th><th>waited for</th></tr>"
    for part in phases:
        state = f' class="{part.state}"' if part.state is StepState.FAILED else ""
        beside = " beside others" if waited(part) else ""
        yield (
            f"<tr><td{state}>{escape(part.name)}{beside}</td>"
            f'<td class="number">{exact(part.ends - part.begins)}</td>'
            f'<td class="number">{exact(part.waited)}</td></tr>'
        )
    yield "</table>"


def _list(lines: Iterable[str]) -> Iterator[str]:
    items = [f"<li>{escape(line)}</li>" for line in lines]
    if items:
        yield f"<ul>{''.join(items)}</ul>"


def _difference(diff: str) -> Iterator[str]:
    for line in diff.splitlines():
        kind = _KINDS.get(line[:1], "")
        yield f'<span class="{kind}">{escape(clean_line(line))}</span>'
