"""The report of a reboot as one HTML page that needs nothing else, with the timeline drawn."""

from collections.abc import Iterator, Sequence
from html import escape

from backstay.cli.output import page as frame
from backstay.cli.output.page import outages
from backstay.cli.output.reboot_text import agents_line
from backstay.journal.records import RunRecord
from backstay.reports.svg import drawing
from backstay.runbooks.reboot.report import HostReport


def page(run: RunRecord, reports: Sequence[HostReport]) -> str:
    """Return the whole page."""
    return frame.page(run, (line for report in reports for line in _host(report)))


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
    yield drawing(report.phases, report.lines)
    yield from outages(report.lines, past=True)
