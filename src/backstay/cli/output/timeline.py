"""Phases and outages drawn for a terminal: bars on one scale, and a line for what users saw."""

from collections.abc import Iterator, Sequence

import click

from backstay.journal.records import StepState
from backstay.quantities import exact
from backstay.reports.timeline import Line, Phase

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
        drawn = click.style("█" * bar, fg=_COLOURS.get(phase.state, "cyan"))
        taken = exact(phase.ends - phase.begins)
        note = f"  {notes[number]}".rstrip() if notes else ""
        row = f"  {phase.name:<{label}} {' ' * left}{drawn}{' ' * (room - left - bar)} {taken:>11}"
        yield f"{row}{note}"


def outage_line(line: Line) -> str:
    """Return what was seen of one API or instance."""
    name = f"{line.kind} {line.what}"[:NAME]
    past = f"{line.past:.1f} s" if line.past is not None else ""
    if not line.asked:
        return f"  {name:<{NAME}} {'not asked':>9}"
    lasts = " and not back yet" if line.outages and line.outages[-1].ends is None else ""
    detail = f"{line.unanswered} of {line.asked} unanswered"
    shown = click.style(f"{line.down:>7.1f} s", fg="yellow" if line.down else "green")
    return f"  {name:<{NAME}} {shown}   {past:<10} {detail}{lasts}"
