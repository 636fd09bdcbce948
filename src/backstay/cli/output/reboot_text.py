"""The report of a reboot for a terminal: what was out, for how long, and a timeline."""

from collections.abc import Iterator, Sequence

import click

from backstay.cli.output.timeline import NAME, bars, outage_line
from backstay.runbooks.reboot.report import HostReport


def report_text(reports: Sequence[HostReport], *, width: int) -> str:
    """Return the reports as text of at most ``width`` columns, empty where there are none."""
    return "".join(line + "\n" for report in reports for line in ("", *_host(report, width)))


def _host(report: HostReport, width: int) -> Iterator[str]:
    yield click.style(report.host, bold=True) + f": {_headline(report)}"
    if report.agents:
        yield f"  {agents_line(report)}"
    yield from bars(report.phases, width)
    if report.lines:
        past = f"median of the last {report.runs}" if report.runs > 1 else "the last run"
        yield f"  {'what users saw':<{NAME}} {'out for':>9}   {past if report.runs else ''}"
        yield from (outage_line(line) for line in report.lines)
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
