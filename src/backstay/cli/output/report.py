"""All that one check found, in the order in which it is told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.finding import Finding, Severity, rank, worst

CLOUD_WIDE = "cloud"
"""What findings without a host are grouped under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One check of the cloud named ``cloud``, begun ``at`` (aware), which took ``seconds``."""

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


def clean(text: str) -> str:
    """Return ``text`` on one line without control characters: hosts are not trusted with them."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
