"""Findings for monitoring: one line of a Nagios plugin, with performance data.

https://nagios-plugins.org/doc/guidelines.html#AEN33 and #AEN200
"""

from collections import Counter

from backstay.cli.output.report import Report, clean
from backstay.finding import Finding, Severity

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
    text = "; ".join(_describe(finding) for finding in bad[:_SHOWN])
    if len(bad) > _SHOWN:
        text += f"; and {len(bad) - _SHOWN} more"
    if not bad:
        text = f"{len(report.findings)} checks"
    performance = " ".join(_performance(report))
    return f"BACKSTAY {_WORDS[report.status]} - {text} | {performance}\n"


def _describe(finding: Finding) -> str:
    where = f"{finding.host}: " if finding.host else ""
    told = clean(f"{where}{finding.subject}: {finding.evidence}").replace("|", "/")
    return told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"


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
