"""The report of a reboot for a terminal: what was out, for how long, and a timeline."""

from collections.abc import Iterator, Sequence
from html import escape

from backstay.cli.output.terminal import style
from backstay.cli.output.timeline import NAME, bars, html_page, outage_line, outages
from backstay.journal.records import RunRecord
from backstay.reports.svg import timeline_svg
from backstay.runbooks.reboot.report import HostReport


def reboot_text(reports: Sequence[HostReport], *, width: int) -> str:
    """Return the reports as text of at most ``width`` columns, empty where there are none."""
    return "".join(line + "\n" for report in reports for line in ("", *_host_text(report, width)))


def _host_text(report: HostReport, width: int) -> Iterator[str]:
    yield style(report.host, bold=True) + f": {_headline(report)}"
    if report.agents:
        yield f"  {agents_line(report)}"
    yield from bars(report.phases, width)
    if report.lines:
        past = f"median of the last {report.runs}" if report.runs > 1 else "the last run"
        yield f"  {'what users saw':<{NAME}} {'out for':>9}   {past if report.runs else ''}"
        yield from (outage_line(line) for line in report.lines)
    if not report.whole:
        yield "  this run was interrupted: outages meanwhile were not recorded"


def _headline(report: HostReport) -> str:
    if report.away is None:
        return "no reboot was observed"
    by = ", by its BMC" if report.cycled else ""
    words = [f"rebooted{by} (boot id {report.boot_before[:8]} -> {report.boot_after[:8]})"]
    words.append(f"away for {report.away:.0f} s")
    if report.until_working is not None:
        before = ""
        if report.past_until_working is not None:
            before = f" (before: {report.past_until_working:.0f} s)"
        words.append(f"everything worked after {report.until_working:.0f} s{before}")
    return ", ".join(words)


def agents_line(report: HostReport) -> str:
    """Return how many agents were verified as attached, when, and which were restarted."""
    after = f" {report.attached:.0f} s after the broker answered" if report.attached else ""
    again = ", ".join(report.restarted)
    restarted = f"restarted: {again}" if again else "none of them restarted"
    return f"{report.agents} agents verified as attached{after}; {restarted}"


def reboot_page(run: RunRecord, reports: Sequence[HostReport]) -> str:
    """Return the whole page."""
    return html_page(run, (line for report in reports for line in _host_html(report)))


def _host_html(report: HostReport) -> Iterator[str]:
    yield f"<h2>{escape(report.host)}</h2>"
    words = []
    if report.away is not None:
        by = " by its BMC" if report.cycled else ""
        words.append(
            f"rebooted{by}: boot id {escape(report.boot_before)} → {escape(report.boot_after)}"
        )
        words.append(f"away for {report.away:.0f} s")
    if report.until_working is not None:
        past = (
            f" (before: {report.past_until_working:.0f} s)"
            if report.past_until_working is not None
            else ""
        )
        words.append(f"everything worked after {report.until_working:.0f} s{past}")
    yield f"<p>{', '.join(words) or 'no reboot was observed'}.</p>"
    if report.agents:
        yield f"<p>{escape(agents_line(report))}.</p>"
    if not report.whole:
        yield "<p>The run was interrupted: outages meanwhile were not recorded.</p>"
    yield timeline_svg(report.phases, report.lines)
    yield from outages(report.lines, past=True)
