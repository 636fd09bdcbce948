"""Phases and outages drawn for a terminal: bars on one scale, and a line for what users saw."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from html import escape

from backstay.cli.output.terminal import style
from backstay.journal.records import RunRecord, StepState
from backstay.quantities import duration, exact
from backstay.reports.style import COLOURS
from backstay.reports.timeline import OutageLine, Phase

NAME = 24
_COLOURS = {StepState.DONE: "green", StepState.FAILED: "red"}


def bars(phases: Sequence[Phase], width: int, notes: Sequence[str] = ()) -> Iterator[str]:
    """Give one bar for each phase, all on one scale, in at most ``width`` columns.

    ``notes`` are words behind the bars, one for each.
    """
    if not phases:
        return
    begins, ends = phases[0].begins, max(phase.ends for phase in phases)
    label = max(12, *(len(phase.name) for phase in phases))
    beside = max((len(note) + 2 for note in notes), default=0)
    room = max(10, width - label - 2 - 14 - beside)
    scale = room / max(0.1, ends - begins)
    for number, phase in enumerate(phases):
        left = min(room - 1, int((phase.begins - begins) * scale))
        bar = min(room - left, max(1, round((phase.ends - phase.begins) * scale)))
        drawn = style("█" * bar, fg=_COLOURS.get(phase.state, "cyan"))
        taken = exact(phase.ends - phase.begins)
        note = f"  {notes[number]}".rstrip() if notes else ""
        row = f"  {phase.name:<{label}} {' ' * left}{drawn}{' ' * (room - left - bar)} {taken:>11}"
        yield f"{row}{note}"


def outage_line(line: OutageLine) -> str:
    """Return what users saw of one API or instance."""
    name = f"{line.kind} {line.what}"[:NAME]
    past = f"{line.past:.1f} s" if line.past is not None else ""
    if not line.asked:
        return f"  {name:<{NAME}} {'not probed':>9}"
    lasts = " and not back yet" if line.outages and line.outages[-1].ends is None else ""
    detail = f"{line.unanswered} of {line.asked} unanswered"
    shown = style(f"{line.down:>7.1f} s", fg="yellow" if line.down else "green")
    return f"  {name:<{NAME}} {shown}   {past:<10} {detail}{lasts}"


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1060px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; }
p { margin: .2rem 0; } .soft { color: var(--soft); }
.done { color: var(--good); } .failed, .refused { color: var(--bad); }
svg { width: 100%; height: auto; margin-top: .6rem; font: 13px system-ui, sans-serif; }
table { border-collapse: collapse; margin-top: .6rem; }
td, th { padding: .15rem 1.2rem .15rem 0; text-align: left; border-bottom: 1px solid var(--rule); }
pre { overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; margin: .4rem 0; }
ul { margin: .2rem 0; padding-left: 1.3rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def html_page(run: RunRecord, parts: Iterable[str]) -> str:
    """Return the whole page: a head that every run has, then the HTML of this one."""
    title = f"{run.plan.runbook} of {', '.join(run.plan.targets)}"
    why = " ".join(filter(None, (run.ticket, run.reason)))
    took = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    body = [
        f'<h1>{escape(title)}: <span class="{run.state}">{run.state}</span>{took}</h1>',
        f'<p class="soft">{escape(run.id)}, cloud {escape(run.plan.cloud)}, started '
        f"{_local(run.began or run.made)} by {escape(run.who)}{escape(f': {why}' if why else '')}"
        "</p>",
        *_failure(run),
        *parts,
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{COLOURS}{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _failure(run: RunRecord) -> Iterator[str]:
    for step in run.steps:
        if step.state is StepState.FAILED:
            failure = f"{step.error['attempted']}: {step.error['came_back']}"
            yield f'<p class="failed">{escape(failure)}</p>'
            yield f"<p>What to do: {escape(step.error['remedy'])}</p>"


def outages(lines: Sequence[OutageLine], *, past: bool) -> Iterator[str]:
    """Give a table of what users saw; ``past`` with a column for the runs before."""
    if not lines:
        return
    before = "<th>last runs</th>" if past else ""
    yield f"<table><tr><th>what users saw</th><th>out for</th>{before}<th>unanswered</th></tr>"
    yield from (_row(line, past=past) for line in lines)
    yield "</table>"


def _row(line: OutageLine, *, past: bool) -> str:
    before = f"{line.past:.1f} s" if line.past is not None else ""
    cell = f'<td class="number">{before}</td>' if past else ""
    return (
        f"<tr><td>{escape(line.kind)} {escape(line.what)}</td>"
        f'<td class="number">{line.down:.1f} s</td>{cell}'
        f'<td class="number">{line.unanswered} of {line.asked}</td></tr>'
    )


def _local(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
