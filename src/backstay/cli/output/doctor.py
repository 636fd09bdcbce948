"""What `backstay doctor` found: a table by command, what to do, and JSON."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from backstay.cli.output.terminal import style
from backstay.doctor.examination import Report
from backstay.doctor.needs import Level
from backstay.doctor.point import Point, State
from backstay.doctor.todo import Todo, todos
from backstay.finding import Severity, rank, worst

SCHEMA = 1
"""Raised when a key changes its meaning or goes; new keys may come without."""
WORDS = {
    Severity.OK: "ok",
    Severity.WARNING: "optional",
    Severity.FAILED: "missing",
    Severity.UNKNOWN: "unknown",
}
_COLOURS = {
    Severity.OK: "green",
    Severity.WARNING: "yellow",
    Severity.FAILED: "red",
    Severity.UNKNOWN: "magenta",
}
_WORST_FIRST: tuple[Severity, ...] = (Severity.FAILED, Severity.UNKNOWN, Severity.WARNING)
_INDENT = " " * 11
_HOSTS_SHOWN = 6
_LINES_SHOWN = 3
_NO_HOSTS = "-"


def doctor_text(report: Report, *, seconds: float, width: int, verbose: bool) -> str:
    """Return the whole text; evidence is wrapped to ``width``, what is to be pasted is not.

    ``verbose`` adds what is there.
    """
    lines = [_headline(report, seconds, width), "", *_table(report)]
    found = todos(report)
    if found:
        lines += ["", style("What to do", bold=True)]
    place = ""
    for todo in found:
        if (here := _places(todo.hosts)) != place:
            place = here
            lines += ["", style("\n".join(textwrap.wrap(place, width)), bold=True)]
        lines += _entry(todo, width, total=len(report.needs))
    if verbose:
        lines += ["", style("What is there", bold=True), *_there(report, width)]
    return "\n".join(lines) + "\n"


def _headline(report: Report, seconds: float, width: int) -> str:
    status = report.status
    counts = Counter(todo.severity for todo in todos(report))
    names: dict[Severity, str] = {
        Severity.FAILED: "missing",
        Severity.UNKNOWN: "unknown",
        Severity.WARNING: "optional and missing",
    }
    parts = [f"{counts[one]} {names[one]}" for one in _WORST_FIRST if counts[one]]
    where = f"{report.cloud.name}, {_counted(len(report.hosts), 'host')}" if report.cloud else ""
    took = f"({where or 'this machine alone'}, {seconds:.1f} s)"
    word = WORDS[status].upper()
    text = f"{word}: {', '.join(parts) or 'everything that the commands need is there'} {took}"
    wrapped = "\n".join(textwrap.wrap(text, width, subsequent_indent="  "))
    return wrapped.replace(word, style(word, fg=_COLOURS[status], bold=True), 1)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(report: Report) -> Iterator[str]:
    rows = [
        (name, _cell(report, name, here=True), _cell(report, name, here=False))
        for name in report.needs
    ]
    first = max(len("command"), *(len(name) for name, _, _ in rows))
    second = max(len("here"), *(len(here[0]) for _, here, _ in rows))
    yield f"{'command':<{first}}  {'here':<{second}}  hosts"
    for name, (here, bad_here), (hosts, bad_hosts) in rows:
        left = style(f"{here:<{second}}", fg=_COLOURS[bad_here])
        right = style(hosts, fg=_COLOURS[bad_hosts]) if hosts != _NO_HOSTS else hosts
        yield f"{name:<{first}}  {left}  {right}"


def _cell(report: Report, command: str, *, here: bool) -> tuple[str, Severity]:
    """Return a cell's text and its worst severity."""
    points = report.of_command(command, here=here)
    if not points:
        return _NO_HOSTS, Severity.OK
    severities = [report.severity(point, [command]) for point in points]
    counts = Counter(severities)
    parts = [f"{counts[one]} {WORDS[one]}" for one in _WORST_FIRST if counts[one]]
    return ", ".join(parts) or "ok", worst(severities)


def _places(hosts: Sequence[str | None]) -> str:
    names = [name if name is not None else "here" for name in hosts]
    more = len(names) - _HOSTS_SHOWN
    shown = ", ".join(names[:_HOSTS_SHOWN])
    return f"{shown} and {more} more hosts" if more > 0 else shown


def _entry(todo: Todo, width: int, *, total: int) -> Iterator[str]:
    """Give the lines of one thing to do."""
    word = style(f"{WORDS[todo.severity].upper():<9}", fg=_COLOURS[todo.severity])
    concerned = "all commands" if len(todo.commands) == total > 1 else ", ".join(todo.commands)
    for number, (what, evidence) in enumerate(todo.seen):
        first, *rest = (evidence or "").splitlines() or [""]
        text = f"{what}: {first.rstrip()}"
        wrapped = textwrap.wrap(text, width - len(_INDENT), break_on_hyphens=False)
        for at, line in enumerate([*wrapped, *(one.strip() for one in rest if one.strip())]):
            yield f"  {word}{line}" if number == 0 and at == 0 else f"{_INDENT}{line}"
    for_text = f"for {concerned}"
    yield from (_INDENT + one for one in textwrap.wrap(for_text, width - len(_INDENT)))
    if todo.remedy:
        yield f"{_INDENT}{style('->', bold=True)} {todo.remedy}"
    for line in todo.lines[:_LINES_SHOWN]:
        yield f"{_INDENT}{style('$', bold=True)} {line}"
    if len(todo.lines) > _LINES_SHOWN:
        yield f"{_INDENT}and {len(todo.lines) - _LINES_SHOWN} more such lines: -o json has all"


def _there(report: Report, width: int) -> Iterator[str]:
    for point in report.points:
        if point.state is not State.OK:
            continue
        text = f"{point.host or 'here'}: {point.what}: {point.evidence}"
        word = style("ok", fg="green")
        wrapped = textwrap.wrap(text, width - len(_INDENT), break_on_hyphens=False)
        for number, line in enumerate(wrapped):
            yield f"  {word}       {line}" if number == 0 else f"{_INDENT}{line}"


def doctor_document(report: Report, *, seconds: float) -> dict[str, Any]:
    """Return it as JSON data; the worst points are the first."""

    def bad(point: Point) -> Severity:
        return report.severity(point, report.needs)

    return {
        "schema": SCHEMA,
        "cloud": report.cloud.name if report.cloud else None,
        "status": WORDS[report.status],
        "seconds": round(seconds, 3),
        "hosts": list(report.hosts),
        "commands": {
            name: {
                "here": WORDS[_cell(report, name, here=True)[1]],
                "hosts": WORDS[_cell(report, name, here=False)[1]],
            }
            for name in report.needs
        },
        "points": [
            _point(report, point)
            for point in sorted(report.points, key=lambda point: rank(bad(point)))
        ],
    }


def _point(report: Report, point: Point) -> dict[str, Any]:
    commands = report.commands_of(point)
    needed = [
        name
        for name in commands
        if report.level(point, name) is Level.NEEDED and not point.optional
    ]
    return {
        "host": point.host,
        "topic": point.topic.value,
        "what": point.what,
        "state": point.state.value,
        "evidence": point.evidence,
        "remedy": point.remedy,
        "command": point.command,
        "needed_by": needed,
        "optional_for": [name for name in commands if name not in needed],
    }
