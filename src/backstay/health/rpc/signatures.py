"""Judge agents by all evidence about them. Pure."""

from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.health.rpc.evidence import AgentSeen, AgentsObservation
from backstay.health.rpc.rules import RULES, STARTING, Case
from backstay.quantities import ago
from backstay.services.messaging import Messaging


def judge_all(looked: AgentsObservation, *, reconnect: float) -> list[AgentDiagnosis]:
    """Judge every agent, those of one service together."""
    judged = [judge(seen, looked.broker, reconnect=reconnect) for seen in looked.agents]
    return [_with_age(one, looked) for one in judged]


def judge(seen: AgentSeen, broker: Messaging, *, reconnect: float) -> AgentDiagnosis:
    """Judge one agent by what is seen of itself, but for the age of its last report."""
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
    Signature.REFUSED: "make the services' user again (rabbitmqctl add_user, set_permissions): the "
    "agents come back by themselves",
    Signature.UNKNOWN: "get the missing evidence; or restart it all the same: --force",
}


def _with_age(judged: AgentDiagnosis, looked: AgentsObservation) -> AgentDiagnosis:
    """Take the age of the last report into account: an agent can answer and yet report no more.

    https://github.com/bigstack-oss/cubecos/issues/1301 (heartbeat frozen for 18 minutes). It is
    held against the agent only where it had the time to report, and others' reports come through:
    who misses an answer is often not who is broken (LP 1905965).
    """
    seen = judged.seen
    if judged.signature is not Signature.ATTACHED or seen.unit is None or not _reports_late(seen):
        return judged
    enough = seen.agent.down_after + STARTING
    if not _lasts(seen.unit.since, enough) or not _lasts(looked.broker.up, enough):
        return judged
    said = f"{judged.evidence}, but last reported {ago(seen.age)}, one is due every "
    said += f"{seen.agent.interval:g} s"
    return _who_is_late(judged, said, looked, enough)


def _who_is_late(
    judged: AgentDiagnosis, said: str, looked: AgentsObservation, enough: float
) -> AgentDiagnosis:
    """Return whether late reports are the agent's own fault."""
    seen, through = judged.seen, judged.seen.rpc_endpoint.through
    writers = [one for one in looked.writers.get(through, ()) if one.runs]
    if through and not writers:
        return AgentDiagnosis(
            seen=seen,
            signature=Signature.UNKNOWN,
            evidence=f"{said}; {through}, which writes that down, does not run",
            remedy=f"start {through} on the controller: backstay check",
        )
    if through and not any(_lasts(writer.since, enough) for writer in writers):
        evidence = f"{said}; {through}, which writes that down, is back for a short while only"
        return AgentDiagnosis(seen=seen, signature=Signature.SETTLING, evidence=evidence)
    if not any(
        other.service == seen.service
        and other.rpc_endpoint.through == through
        and not _reports_late(other)
        for other in looked.agents
    ):
        return AgentDiagnosis(
            seen=seen,
            signature=Signature.UNKNOWN,
            evidence=f"{said}; no other agent's reports come through either",
            remedy="see why they do not: backstay check; or restart it all the same: --force",
        )
    return AgentDiagnosis(seen=seen, signature=Signature.FROZEN, evidence=said, restart=True)


def _reports_late(seen: AgentSeen) -> bool:
    return seen.age is None or seen.age >= seen.agent.down_after


def _lasts(seconds: float | None, enough: float) -> bool:
    return seconds is not None and seconds > enough
