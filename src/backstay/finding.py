"""A finding: the judgement on what was observed, in the operator's words."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from backstay.answers import clean


class Severity(StrEnum):
    """How bad it is. ``UNKNOWN`` means that the evidence is missing, which is never a yes."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


_WORST_FIRST = (Severity.FAILED, Severity.UNKNOWN, Severity.WARNING, Severity.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One judgement.

    ``host`` is the inventory's host name, or None where the cloud as a whole is meant (an API by
    its public address). ``subject`` is what was looked at (``unit nova-api``, ``image list``,
    ``disk /``). ``evidence`` is what was seen. ``remedy`` is what to type or do next; empty when
    the severity is ok. ``seconds`` is how long the question took, where that matters.
    """

    host: str | None
    service: str
    subject: str
    severity: Severity
    evidence: str
    remedy: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Clean the texts: they quote hosts and APIs, and go to terminals, mails and pages."""
        for name in ("subject", "evidence", "remedy"):
            text = getattr(self, name)
            if (cleaned := clean(text)) is not text:
                object.__setattr__(self, name, cleaned)


def worst(severities: "list[Severity]") -> Severity:
    """Return the worst severity; unknown where there is none (nothing seen is not ok).

    Failed outranks unknown: a known failure is acted on first.
    """
    return min(severities, key=_WORST_FIRST.index, default=Severity.UNKNOWN)


def rank(severity: Severity) -> int:
    """Return the place in a worst-first order, 0 being the worst."""
    return _WORST_FIRST.index(severity)


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """Return what stands in the way: what failed, and what is not known."""
    return [f for f in findings if f.severity in {Severity.FAILED, Severity.UNKNOWN}]
