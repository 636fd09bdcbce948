"""The report of a reboot for a terminal: what was out, for how long, and a timeline."""

from collections.abc import Iterator, Sequence

import click

from backstay.health.words import duration
from backstay.journal.records import StepState
from backstay.runbooks.reboot.report import HostReport, Line, Phase

_COLOURS = {StepState.DONE: "green", StepState.FAILED: "red"}
_NAME = 24


def report_text(reports: Sequence[HostReport], *, width: int) -> str:
    """Return the reports as text of at most ``width`` columns, empty where there are none."""
    return "".join(line + "\n" for report in reports for line in ("", *_host(report, width)))


def _host(report: HostReport, width: int) -> Iterator[str]:
    yield click.style(report.host, bold=True) + f": {_headline(report)}"
    if report.agents:
        yield f"  {agents_line(report)}"
    yield from _timeline(report.phases, width)
    if report.lines:
        past = f"median of the last {report.runs}" if report.runs > 1 else "the last run"
        yield f"  {'what users saw':<{_NAME}} {'out for':>9}   {past if report.runs else ''}"
        yield from (_line(line) for line in report.lines)
    if not report.whole:
        yield "  this run was interrupted: what was out meanwhile was not seen"


def _headline(report: HostReport) -> str:
    if report.away is None:
        return "not seen to have rebooted"
    by = ", by its BMC" if report.cycled else ""
    words = [f"rebooted{by} (boot id {report.boot_before[:8]} -> {report.boot_after[:8]})"]
    words.append(f"away for {report.away:.0f} s")
    if report.well is not None:
        before = ""
        if report.past_well is not None:
            before = f" (before: {report.past_well:.0f} s)"
        words.append(f"everything well after {report.well:.0f} s{before}")
    return ", ".join(words)


def agents_line(report: HostReport) -> str:
    """Say how many agents were proved attached, when, and which had to be restarted."""
    after = f" {report.attached:.0f} s after the broker answered" if report.attached else ""
    again = ", ".join(report.restarted)
    told = f"restarted: {again}" if again else "none of them restarted"
    return f"{report.agents} agents proved attached{after}; {told}"


def _line(line: Line) -> str:
    name = f"{line.kind} {line.what}"[:_NAME]
    past = f"{line.past:.1f} s" if line.past is not None else ""
    if not line.asked:
        return f"  {name:<{_NAME}} {'not asked':>9}"
    lasts = " and not back yet" if line.outages and line.outages[-1].ends is None else ""
    detail = f"{line.unanswered} of {line.asked} unanswered"
    shown = click.style(f"{line.down:>7.1f} s", fg="yellow" if line.down else "green")
    return f"  {name:<{_NAME}} {shown}   {past:<10} {detail}{lasts}"


def _timeline(phases: Sequence[Phase], width: int) -> Iterator[str]:
    """Give one bar for each phase, all on one scale."""
    if not phases:
        return
    begins, ends = phases[0].begins, max(phase.ends for phase in phases)
    room = max(10, width - 14 - 12)
    scale = room / max(0.1, ends - begins)
    for phase in phases:
        left = min(room - 1, int((phase.begins - begins) * scale))
        bar = min(room - left, max(1, round((phase.ends - phase.begins) * scale)))
        drawn = click.style("█" * bar, fg=_COLOURS.get(phase.state, "cyan"))
        taken = duration(phase.ends - phase.begins)
        yield f"  {phase.name:<12} {' ' * left}{drawn}{' ' * (room - left - bar)} {taken:>8}"
