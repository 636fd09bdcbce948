"""Findings for a person: by host, the worst first, under each what to do."""

import textwrap
from collections import Counter
from collections.abc import Iterator

import click

from backstay.cli.output.report import Report, clean
from backstay.finding import Finding, Severity

_COLOURS = {
    Severity.OK: "green",
    Severity.WARNING: "yellow",
    Severity.FAILED: "red",
    Severity.UNKNOWN: "magenta",
}
_INDENT = " " * 10
_HOSTS_NAMED = 5


def table(report: Report, *, width: int = 80, verbose: bool = False, quiet: bool = False) -> str:
    """Return the whole text, with colour codes that ``click.echo`` strips where they do not belong.

    ``verbose`` shows what is ok line by line, ``quiet`` leaves it out. Evidence is wrapped to
    ``width``; a remedy stays on one line, so that it can be copied.
    """
    if quiet and report.status is Severity.OK:
        return ""
    lines = [_headline(report, width)]
    for host, findings in report.by_host():
        bad = [finding for finding in findings if finding.severity is not Severity.OK]
        good = [finding for finding in findings if finding.severity is Severity.OK]
        if quiet and not bad:
            continue
        lines += ["", click.style(host, bold=True)]
        for finding in bad:
            lines += _describe(finding, width)
        if good and verbose:
            lines += [_line(finding) for finding in good]
        elif good and not quiet:
            lines += _folded(good, width)
    return "\n".join(lines) + "\n"


def _headline(report: Report, width: int) -> str:
    status = report.status
    count = len(report.findings)
    checks = f"{count} check{'' if count == 1 else 's'}"
    took = f"({report.cloud}, {checks} in {report.seconds:.1f} s)"
    if status is Severity.OK:
        told = "everything that should run runs, and works"
    else:
        told = "; ".join(_where(report)) or "nothing was checked"
    word = status.value.upper()
    lines = textwrap.wrap(f"{word}: {told} {took}", width, subsequent_indent="  ")
    coloured = click.style(word, fg=_COLOURS[status], bold=True)
    return "\n".join(lines).replace(word, coloured, 1)


def _where(report: Report) -> Iterator[str]:
    """Give for each bad severity how many findings there are, and on which hosts."""
    for severity in (Severity.FAILED, Severity.UNKNOWN, Severity.WARNING):
        hosts = {
            host: sum(finding.severity is severity for finding in findings)
            for host, findings in report.by_host()
        }
        hit = [(host, count) for host, count in hosts.items() if count]
        if hit:
            where = ", ".join(
                f"{host} ({count})" if count > 1 else host for host, count in hit[:_HOSTS_NAMED]
            )
            more = f" and {len(hit) - _HOSTS_NAMED} more hosts" if len(hit) > _HOSTS_NAMED else ""
            yield f"{report.count(severity)} {severity.value} on {where}{more}"


def _describe(finding: Finding, width: int) -> Iterator[str]:
    """Give the lines of a finding that is not ok."""
    word = click.style(f"{finding.severity.value.upper():<8}", fg=_COLOURS[finding.severity])
    yield f"  {word}{finding.service}: {clean(finding.subject)}"
    wrapped = textwrap.wrap(clean(finding.evidence), width - len(_INDENT), break_on_hyphens=False)
    yield from (_INDENT + line for line in wrapped)
    if finding.remedy:
        yield f"{_INDENT}{click.style('->', bold=True)} {clean(finding.remedy)}"


def _line(finding: Finding) -> str:
    word = click.style(f"{finding.severity.value:<8}", fg=_COLOURS[finding.severity])
    took = f" ({finding.seconds:.2f} s)" if finding.seconds is not None else ""
    return f"  {word}{finding.service}: {clean(finding.subject)}: {clean(finding.evidence)}{took}"


def _folded(good: list[Finding], width: int) -> Iterator[str]:
    """Give what is ok as numbers per service, over as few lines as they need."""
    counts = Counter(finding.service for finding in good)
    text = ", ".join(f"{service} {count}" for service, count in counts.items())
    word = click.style(f"{'ok':<8}", fg=_COLOURS[Severity.OK])
    for number, line in enumerate(textwrap.wrap(text, width - len(_INDENT))):
        yield (f"  {word}" if number == 0 else _INDENT) + line
