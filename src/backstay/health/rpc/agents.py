"""Observe agents and diagnose each; the findings of ``check --deep`` that follow from that."""

import asyncio
from collections.abc import Collection, Iterable

from backstay.access.session import CloudSession
from backstay.commands import command
from backstay.errors import ApiError
from backstay.finding import Finding, Severity
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.health.rpc.evidence import AgentSeen, AgentsObservation
from backstay.health.rpc.observe import observe_agents
from backstay.health.rpc.signatures import judge_all
from backstay.inventory.enums import Role

RETRY_AFTER = 2.0
"""Seconds after which an API that did not list its agents is asked a second time."""

_SEVERITY = {
    Signature.ATTACHED: Severity.OK,
    Signature.SETTLING: Severity.WARNING,
    Signature.UNKNOWN: Severity.UNKNOWN,
}


async def diagnose_agents(
    session: CloudSession, hosts: Collection[str] | None = None
) -> tuple[AgentsObservation, list[AgentDiagnosis]]:
    """Observe and diagnose all agents, or those on ``hosts`` (names in cloud.yaml).

    Agents on the controllers are always observed, as the others report through them; their
    diagnoses are returned only where asked for. Raises ApiError where an API does not list its
    agents, also when it is asked a second time.
    """
    controllers = {host.name for host in session.cloud.with_role(Role.CONTROLLER)}
    chosen = None if hosts is None else {*hosts, *controllers}
    try:
        observed = await observe_agents(session, chosen)
    except ApiError:
        await asyncio.sleep(RETRY_AFTER)
        observed = await observe_agents(session, chosen)
    diagnoses = judge_all(observed, reconnect=session.cloud.maintenance.reconnect)
    return observed, [one for one in diagnoses if hosts is None or one.seen.host in hosts]


def findings(diagnoses: Iterable[AgentDiagnosis]) -> list[Finding]:
    """Return a finding for each agent. Pure.

    Every signature is a failure but attached (ok), settling (a warning) and unknown; an agent that
    is not in service makes a warning at most.
    """
    return [_finding(diagnosis) for diagnosis in diagnoses]


def _finding(diagnosis: AgentDiagnosis) -> Finding:
    seen, attached = diagnosis.seen, diagnosis.signature is Signature.ATTACHED
    name = seen.host or seen.agent.host
    evidence = diagnosis.evidence
    severity = _SEVERITY.get(diagnosis.signature, Severity.FAILED)
    if not attached and not seen.agent.in_service:
        severity = Severity.WARNING
    return Finding(
        host=seen.host,
        service=seen.service,
        subject=f"call to {seen.agent.binary}" + ("" if seen.host else f" on {name}"),
        severity=severity,
        evidence=evidence if attached else f"{diagnosis.signature}: {evidence}",
        remedy="" if attached else diagnosis.remedy or _reattach(seen),
    )


def _reattach(seen: AgentSeen) -> str:
    """Return the command that reattaches it: only hosts of cloud.yaml can be named there."""
    if seen.host is not None:
        return command("backstay", "reattach", seen.host)
    return "give its host in cloud.yaml the name that it reports under, or delete its record"


def not_called(error: ApiError) -> Finding:
    """Return the finding for an API that did not list its agents, so that none was called."""
    return Finding(
        host=None,
        service="agents",
        subject="calls",
        severity=Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}; so no agent was called",
        remedy=error.remedy,
    )
