"""What ``check --deep`` says of agents that were called. Pure."""

from collections.abc import Iterable

from backstay.errors import ApiError
from backstay.finding import Finding, Severity
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature

_SEVERITY = {
    Signature.ATTACHED: Severity.OK,
    Signature.SETTLING: Severity.WARNING,
    Signature.UNKNOWN: Severity.UNKNOWN,
}


def findings(judged: Iterable[AgentDiagnosis]) -> list[Finding]:
    """Return a finding for each agent; all but the attached, settling and unknown have failed."""
    return [_finding(one) for one in judged]


def _finding(judged: AgentDiagnosis) -> Finding:
    seen, attached = judged.seen, judged.signature is Signature.ATTACHED
    name = seen.host or seen.agent.host
    remedy = judged.remedy or f"backstay reattach {name}"
    return Finding(
        host=seen.host,
        service=seen.service,
        subject=f"call to {seen.agent.binary}" + ("" if seen.host else f" on {name}"),
        severity=_SEVERITY.get(judged.signature, Severity.FAILED),
        evidence=judged.evidence if attached else f"{judged.signature}: {judged.evidence}",
        remedy="" if attached else remedy,
    )


def not_called(error: ApiError) -> Finding:
    """Return the finding where it is not known whom to call."""
    return Finding(
        host=None,
        service="agents",
        subject="calls",
        severity=Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}; so no agent was called",
        remedy=error.remedy,
    )
