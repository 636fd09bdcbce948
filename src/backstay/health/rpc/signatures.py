"""Diagnose agents by all evidence about them. Pure."""

from dataclasses import replace

from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.health.rpc.evidence import AgentSeen, AgentsObservation
from backstay.health.rpc.rules import RULES, STARTING, Case
from backstay.quantities import ago
from backstay.services.messaging import Messaging


def judge_all(observed: AgentsObservation, *, reconnect: float) -> list[AgentDiagnosis]:
    """Diagnose every agent, those of one service together."""
    judged = [judge(seen, observed.broker, reconnect=reconnect) for seen in observed.agents]
    return [_left_alone(_with_age(one, observed)) for one in judged]


def _left_alone(judged: AgentDiagnosis) -> AgentDiagnosis:
    """Leave alone an agent that is not attached and that somebody has taken out of service."""
    agent = judged.seen.agent
    if agent.in_service or judged.signature is Signature.ATTACHED:
        return judged
    how = "forced down" if agent.forced_down else "disabled"
    reason = f": {agent.note}" if agent.note else ""
    back = f": {agent.activate}" if agent.activate else ""
    return replace(
        judged,
        evidence=f"{how}{reason}; {judged.evidence}",
        restart=False,
        remedy=f"put it back into service when the reason is gone{back}",
    )


def judge(seen: AgentSeen, broker: Messaging, *, reconnect: float) -> AgentDiagnosis:
    """Diagnose one agent by the evidence about itself, without the age of its last report."""
    case = Case(seen=seen, broker=broker, reconnect=reconnect)
    for rule in RULES:
        found = rule(case)
        if isinstance(found, AgentDiagnosis):
            return found
        if found is not None:
            signature, evidence = found
            return AgentDiagnosis(
                seen=seen,
                signature=signature,
                evidence=evidence,
                restart=signature in _RESTARTED,
                remedy=_REMEDY.get(signature, ""),
            )
    raise AssertionError("the last rule always finds something")


_RESTARTED = frozenset((Signature.DEAF, Signature.HALF_OPEN, Signature.FROZEN, Signature.DOWN))
_REMEDY = {
    Signature.UNKNOWN: "get the missing evidence, or restart it without: backstay reattach --force",
}


def _with_age(judged: AgentDiagnosis, observed: AgentsObservation) -> AgentDiagnosis:
    """Take the age of the last report into account: an agent can answer and yet report no more.

    https://github.com/bigstack-oss/cubecos/issues/1301 (heartbeat frozen for 18 minutes). It counts
    only where the agent had the time to report, and others' reports arrive: an agent that misses an
    answer is often not the faulty one (LP 1905965).
    """
    seen = judged.seen
    if judged.signature is not Signature.ATTACHED or seen.unit is None or not _reports_late(seen):
        return judged
    enough = seen.agent.down_after + STARTING
    if not _lasts(seen.unit.since, enough) or not _lasts(observed.broker.up, enough):
        return judged
    evidence = f"{judged.evidence}, but its API calls it down: it last reported {ago(seen.age)}"
    return _who_is_late(judged, evidence, observed, enough)


def _who_is_late(
    judged: AgentDiagnosis, evidence: str, observed: AgentsObservation, enough: float
) -> AgentDiagnosis:
    """Return whether late reports are the agent's own fault."""
    seen, through = judged.seen, judged.seen.rpc_endpoint.reports_via
    writers = [one for one in observed.writers.get(through, ()) if one.runs]
    if through and not writers:
        return AgentDiagnosis(
            seen=seen,
            signature=Signature.UNKNOWN,
            evidence=f"{evidence}; {through}, which stores its reports, is not running",
            remedy=f"start {through} on the controller: backstay check",
        )
    if through and not any(_lasts(writer.since, enough) for writer in writers):
        evidence += f"; {through}, which stores its reports, was started only recently"
        return AgentDiagnosis(seen=seen, signature=Signature.SETTLING, evidence=evidence)
    if not any(
        other.service == seen.service
        and other.rpc_endpoint.reports_via == through
        and not _reports_late(other)
        for other in observed.agents
    ):
        return AgentDiagnosis(
            seen=seen,
            signature=Signature.UNKNOWN,
            evidence=f"{evidence}; no other agent's reports arrive either",
            remedy="find out why: backstay check; or restart it anyway: backstay reattach --force",
        )
    return AgentDiagnosis(seen=seen, signature=Signature.FROZEN, evidence=evidence, restart=True)


def _reports_late(seen: AgentSeen) -> bool:
    """Return whether its reports are missed: only where its API, which knows the bound, says so."""
    if seen.agent.up:
        return False
    return seen.age is None or seen.age >= seen.agent.down_after


def _lasts(seconds: float | None, enough: float) -> bool:
    return seconds is not None and seconds > enough
