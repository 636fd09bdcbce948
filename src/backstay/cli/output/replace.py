"""The report of a replacement for a terminal: what it took, what is lost, where things are."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from backstay.answers import clean
from backstay.cli.output.terminal import style
from backstay.cli.output.timeline import NAME, bars, html_page, outage_line, outages
from backstay.journal.records import RunRecord, StepState
from backstay.quantities import duration, exact
from backstay.reports.svg import timeline_svg
from backstay.runbooks.common.outage_recorder import API, INSTANCE
from backstay.runbooks.replace.report import GUIDE, OverlappingPhase, Report, UserImpact
from backstay.runbooks.replace.steps import BY_POWER

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def replace_text(reports: Sequence[Report], *, width: int) -> str:
    """Return the reports as text of at most ``width`` columns, empty where there are none."""
    return "".join(line + "\n" for report in reports for line in ("", *_report_text(report, width)))


def _report_text(report: Report, width: int) -> Iterator[str]:
    colour = {True: "green", False: "yellow", None: "red"}[report.within]
    name = style(f"{report.host} on {report.spare}", bold=True)
    yield f"{name}: {style(headline(report), fg=colour)}"
    yield from _wrapped(death(report), width)
    yield from _wrapped(report.status, width)
    yield from bars(report.phases, width, [waited(part) for part in report.phases])
    for line in data_lines(report):
        yield from _wrapped(line, width)
    if report.impact is not None:
        yield f"  {'what users saw':<{NAME}} {'out for':>9}"
        yield from (outage_line(line) for line in report.impact.lines)
    for line in (*watch_lines(report), *after_lines(report)):
        yield from _wrapped(line, width)
    if report.diff:
        done = "cloud.yaml now" if not report.by_hand else "to be changed in cloud.yaml by hand"
        yield f"  {done}:"
        yield from (f"    {_coloured(clean(line))}" for line in report.diff.splitlines())


def headline(report: Report) -> str:
    """Return how long it took until all checks were green, beside the operations guide's."""
    guide = duration(GUIDE)
    if report.until_working is None:
        return "not verified to work yet"
    word = "within" if report.within else "longer than"
    return f"all checks green after {exact(report.until_working)}, {word} the guide's {guide}"


def death(report: Report) -> str:
    """Return how the host was found dead, and what keeps it from coming back."""
    count = len(report.witnesses) - len(report.left_out)
    by = f"dead for {count} witness{'es' * (count != 1)}; "
    if report.left_out:
        by += f"left out by the operator: {', '.join(report.left_out)}; "
    if report.fenced_by == BY_POWER:
        return by + "fenced: its power is off, read back"
    return f"{by}fenced by hand only: make sure that {report.host} stays off its network"


def waited(part: OverlappingPhase) -> str:
    """Return how long the run waited for a phase alone, where others went on meanwhile."""
    if part.ends - part.begins - part.waited < 1:
        return ""
    return f"waited {exact(part.waited)}"


def data_lines(report: Report) -> Iterator[str]:
    """Give what is lost, and from what the host was built."""
    newer = f", and {report.newer} files that came later" if report.newer else ""
    yield f"built from the backup {report.backup}{newer}"
    yield from report.lost
    yield from report.remarks
    if report.packages:
        yield f"packages: {report.packages}"


def watch_lines(report: Report) -> Iterator[str]:
    """Yield the notes on what users saw, and on what was not recorded."""
    watch = report.impact
    if watch is None:
        yield "what users saw is not known: it was not recorded to the end"
    else:
        yield from _watched(watch, report.host)
    if not report.whole:
        yield (
            "the run was interrupted: its clock includes the pause, and outages then were not "
            "recorded"
        )


def _watched(watch: UserImpact, host: str) -> Iterator[str]:
    apis = [line.what for line in watch.lines if line.kind == API]
    before = [name for name in watch.out_at_begin if name in apis]
    if before:
        which = f"all APIs of {host}" if len(before) == len(apis) else ", ".join(before)
        yield f"already out when the run started, for longer than shown: {which}"
    instances = [line for line in watch.lines if line.kind == INSTANCE]
    out = [line for line in instances if line.unanswered]
    if instances and not out:
        pings = sum(line.asked for line in instances)
        yield f"{_number(len(instances), 'instance')} answered every one of {pings} pings"
    if watch.silent:
        yield (
            f"not recorded, as they answered no ping from here at the start: {_some(watch.silent)}"
        )
    if watch.unasked:
        yield f"what runs on {_some(watch.unasked)} is not known: it could not be read"
    if watch.never:
        yield f"never answered: {_some(watch.never)} (addresses by {watch.apis_by})"


def after_lines(report: Report) -> Iterator[str]:
    """Yield the results for agents, records and backup, and where the replaced data are."""
    agents = report.agents
    if agents is not None:
        again = ", ".join(agents.restarted)
        result = f"restarted: {again}" if again else "none of them restarted"
        if agents.left:
            result += f"; NOT attached: {', '.join(agents.left)} (backstay reattach)"
        yield f"agents were back after {agents.seconds:.0f} s; {result}"
    if report.mismatches:
        count = _number(len(report.mismatches), "mismatch", "es")
        yield f"{count} between records and reality; what to do: backstay reconcile"
        yield from (f"mismatch: {one}" for one in report.mismatches[:8])
    elif report.mismatches is not None and not report.not_compared:
        yield "records and reality agree"
    yield from (f"not compared: {one}" for one in report.not_compared)
    if report.new_backup:
        proved = "verified" if report.verified else "not verified"
        done = f"; all was done after {exact(report.ended)}" if report.ended is not None else ""
        yield f"new backup: {report.new_backup}, {proved}{done}"
    if report.replaced_data:
        yield f"replaced data is kept in {', '.join(report.replaced_data)}"
    if report.by_hand:
        yield f"cloud.yaml could not be written: {report.by_hand}"
    elif report.fenced:
        yield (
            f"cloud.yaml: {report.spare} is {report.host} now; the old one is {report.fenced}, "
            "only fenced: take it from the network, then out of cloud.yaml"
        )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        clean(text), width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def _coloured(line: str) -> str:
    return style(line, fg=_COLOURS.get(line[:1]))


def _number(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{plural * (count != 1)}"


def _some(names: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


_KINDS = {"+": "done", "-": "failed", "@": "soft"}


def replace_page(run: RunRecord, reports: Sequence[Report]) -> str:
    """Return the whole page."""
    return html_page(run, (line for report in reports for line in _report_html(report)))


def _report_html(report: Report) -> Iterator[str]:
    kind = {True: "done", False: "failed", None: "failed"}[report.within]
    yield f"<h2>{escape(report.host)} on {escape(report.spare)}</h2>"
    yield f'<p class="{kind}">{escape(headline(report))}.</p>'
    yield f"<p>{escape(death(report))}.</p>"
    yield from [f"<p>{escape(report.status)}.</p>"] if report.status else []
    yield timeline_svg(report.phases, report.impact.lines if report.impact else ())
    yield from _phases_table(report.phases)
    yield "<h2>Data</h2>"
    yield from _list(data_lines(report))
    yield "<h2>What users saw</h2>"
    if report.impact is not None:
        yield from outages(report.impact.lines, past=False)
    yield from _list(watch_lines(report))
    yield "<h2>Afterwards</h2>"
    yield from _list(after_lines(report))
    if report.diff:
        done = "is changed so" if not report.by_hand else "is to be changed so by hand"
        yield f"<p>cloud.yaml {done}:</p>"
        yield f"<pre>{chr(10).join(_difference(report.diff))}</pre>"
    if report.witnesses:
        yield "<h2>Who found it dead</h2>"
        yield "<table><tr><th>witness</th><th>result</th></tr>"
        for name, says in report.witnesses:
            yield f"<tr><td>{escape(name)}</td><td>{escape(says)}</td></tr>"
        yield "</table>"


def _phases_table(phases: Sequence[OverlappingPhase]) -> Iterator[str]:
    """Yield a row for each phase: how long it took, and how long nothing else went on."""
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
        yield f'<span class="{kind}">{escape(clean(line))}</span>'
