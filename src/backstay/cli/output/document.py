"""Findings for programs: the JSON document that docs/check.md describes."""

import json
from datetime import UTC

from backstay.cli.output.report import Report

SCHEMA = 1
"""Raised when a key changes its meaning or goes; new keys may come without."""


def document(report: Report) -> str:
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
