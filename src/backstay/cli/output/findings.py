"""The findings of one check: in order, as a table, as a line for monitoring, as JSON."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.answers import clean
from backstay.cli.output.terminal import style
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity, rank, worst

CLOUD_WIDE = "cloud"
"""What findings without a host are grouped under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One check of the cloud named ``cloud``, started ``at`` (aware), which took ``seconds``."""

    cloud: str
    at: datetime
    seconds: float
    findings: Sequence[Finding]

    @property
    def status(self) -> Severity:
        """Return the worst severity; unknown where nothing was found at all."""
        return worst([finding.severity for finding in self.findings])

    def worst_first(self) -> list[Finding]:
        """Return the findings, the worst first, otherwise as they came."""
        return sorted(self.findings, key=lambda finding: rank(finding.severity))

    def by_host(self) -> list[tuple[str, list[Finding]]]:
        """Return each host's findings, worst first; the host with the worst finding first.

        Hosts that are equally bad stay in the order in which they came.
        """
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.host or CLOUD_WIDE, []).append(finding)
        for found in groups.values():
            found.sort(key=lambda finding: rank(finding.severity))
        return sorted(groups.items(), key=lambda group: rank(group[1][0].severity))

    def count(self, severity: Severity) -> int:
        """Return how many findings are of that severity."""
        return Counter(finding.severity for finding in self.findings)[severity]


_COLOURS = {
    Severity.OK: "green",
    Severity.WARNING: "yellow",
    Severity.FAILED: "red",
    Severity.UNKNOWN: "magenta",
}
_INDENT = " " * 10
_HOSTS_NAMED = 5


def findings_table(
    report: Report, *, width: int = 80, verbose: bool = False, quiet: bool = False
) -> str:
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
        lines += ["", style(host, bold=True)]
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
        text = "everything that should run runs, and works"
    else:
        text = "; ".join(_where(report)) or "nothing was checked"
    word = status.value.upper()
    lines = textwrap.wrap(f"{word}: {text} {took}", width, subsequent_indent="  ")
    coloured = style(word, fg=_COLOURS[status], bold=True)
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
    word = style(f"{finding.severity.value.upper():<8}", fg=_COLOURS[finding.severity])
    yield f"  {word}{finding.service}: {clean(finding.subject)}"
    wrapped = textwrap.wrap(clean(finding.evidence), width - len(_INDENT), break_on_hyphens=False)
    yield from (_INDENT + line for line in wrapped)
    if finding.remedy:
        yield f"{_INDENT}{style('->', bold=True)} {clean(finding.remedy)}"


def _line(finding: Finding) -> str:
    word = style(f"{finding.severity.value:<8}", fg=_COLOURS[finding.severity])
    took = f" ({finding.seconds:.2f} s)" if finding.seconds is not None else ""
    return f"  {word}{finding.service}: {clean(finding.subject)}: {clean(finding.evidence)}{took}"


def _folded(good: list[Finding], width: int) -> Iterator[str]:
    """Give what is ok as numbers per service, over as few lines as they need."""
    counts = Counter(finding.service for finding in good)
    text = ", ".join(f"{service} {count}" for service, count in counts.items())
    word = style(f"{'ok':<8}", fg=_COLOURS[Severity.OK])
    for number, line in enumerate(textwrap.wrap(text, width - len(_INDENT))):
        yield (f"  {word}" if number == 0 else _INDENT) + line


_WORDS = {
    Severity.OK: "OK",
    Severity.WARNING: "WARNING",
    Severity.FAILED: "CRITICAL",
    Severity.UNKNOWN: "UNKNOWN",
}
# A pager shows little, and Nagios cuts a plugin's output at 8 KiB, performance data included.
_SHOWN = 4
_LONGEST = 160


def plugin_line(report: Report) -> str:
    """Return the line, ending in a newline: status, the worst findings, durations in seconds."""
    bad = [finding for finding in report.worst_first() if finding.severity is not Severity.OK]
    text = "; ".join(_problem_text(finding) for finding in bad[:_SHOWN])
    if len(bad) > _SHOWN:
        text += f"; and {len(bad) - _SHOWN} more"
    if not bad:
        text = f"{len(report.findings)} checks"
    performance = " ".join(_performance(report))
    return f"BACKSTAY {_WORDS[report.status]} - {text} | {performance}\n"


def plugin_error(error: BackstayError) -> str:
    """Return the line for a check that could not be made, ending in a newline."""
    text = clean(f"{error.attempted}: {error.came_back}; {error.remedy}").replace("|", "/")
    return f"BACKSTAY {_WORDS[Severity.UNKNOWN]} - {text}\n"


def _problem_text(finding: Finding) -> str:
    where = f"{finding.host}: " if finding.host else ""
    text = clean(f"{where}{finding.subject}: {finding.evidence}").replace("|", "/")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _performance(report: Report) -> list[str]:
    """Give ``'label'=value`` for the whole and for each timed question; labels are unique."""
    timed = [finding for finding in report.findings if finding.seconds is not None]
    times = Counter(finding.subject for finding in timed)
    values = [f"'total'={report.seconds:.3f}s"]
    seen = set()
    for finding in timed:
        where = f"{finding.host} " if times[finding.subject] > 1 and finding.host else ""
        label = clean(f"{where}{finding.subject}").replace("=", " ").replace("|", "/")
        if label not in seen:
            seen.add(label)
            quoted = label.replace("'", "''")
            values.append(f"'{quoted}'={finding.seconds:.3f}s")
    counts = ((severity, report.count(severity)) for severity in _WORDS)
    return values + [f"'{severity.value}'={count}" for severity, count in counts]


SCHEMA = 1
"""Raised when a key changes its meaning or goes; new keys may come without."""


def findings_document(report: Report) -> str:
    """Return the JSON text, ending in a newline; the worst finding is the first."""
    return (
        json.dumps(
            {
                "schema": SCHEMA,
                "cloud": report.cloud,
                "status": report.status.value,
                "checked_at": report.at.astimezone(UTC).isoformat(timespec="seconds"),
                "seconds": round(report.seconds, 3),
                "findings": [
                    {
                        "host": finding.host,
                        "service": finding.service,
                        "subject": finding.subject,
                        "severity": finding.severity.value,
                        "evidence": finding.evidence,
                        "remedy": finding.remedy,
                        "seconds": None if finding.seconds is None else round(finding.seconds, 3),
                    }
                    for finding in report.worst_first()
                ],
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )
