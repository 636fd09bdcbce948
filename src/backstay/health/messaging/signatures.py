"""Judge agents by all evidence about them. Pure."""

from collections.abc import Iterable

from backstay.health.messaging.judged import Judged, Signature
from backstay.health.messaging.rules import RULES, STARTING, Case, lost_queue
from backstay.health.messaging.seen import AgentSeen, Looked
from backstay.health.words import ago
from backstay.services.messaging import Messaging


def judge_all(looked: Looked, *, reconnect: float) -> list[Judged]:
    """Judge every agent, those of one service together."""
    judged = [judge(seen, looked.broker, reconnect=reconnect) for seen in looked.agents]
    unwell = {one.seen.service for one in judged if _writes_reports(one) and not _steady(one)}
    up = looked.broker.up
    return [_with_age(one, up, reports=one.seen.service not in unwell) for one in judged]


def judge(seen: AgentSeen, broker: Messaging, *, reconnect: float) -> Judged:
    """Judge one agent by what is seen of itself, but for the age of its last report."""
    case = Case(seen=seen, broker=broker, reconnect=reconnect)
    for rule in RULES:
        found = rule(case)
        if isinstance(found, Judged):
            return found
        if found is not None:
            signature, evidence = found
            return Judged(
                seen=seen, signature=signature, evidence=evidence,
                restart=signature in _RESTARTED, remedy=_REMEDY.get(signature, ""),
            )  # fmt: skip
    raise AssertionError("the last rule always finds something")


_RESTARTED = frozenset((Signature.DEAF, Signature.HALF_OPEN, Signature.FROZEN, Signature.DOWN))
_REMEDY = {
    Signature.REFUSED: "make the services' user again (rabbitmqctl add_user, set_permissions): the "
    "agents come back by themselves",
    Signature.UNKNOWN: "get the missing evidence; or restart it all the same: --force",
}


def _with_age(judged: Judged, up: float | None, *, reports: bool) -> Judged:
    """Take the age of the last report into account: an agent can answer and yet report no more.

    https://github.com/bigstack-oss/cubecos/issues/1301 (heartbeat frozen for 18 minutes). Only
    where those through whom agents report are well (``reports``), and it had the time to.
    """
    seen = judged.seen
    unit = seen.unit
    if judged.signature is not Signature.ATTACHED or unit is None or unit.since is None:
        return judged
    late = seen.agent.down_after
    had_time = unit.since > late + STARTING and up is not None and up > late + STARTING
    if not had_time or (seen.age is not None and seen.age < late):
        return judged
    said = f"{judged.evidence}, but last reported {ago(seen.age)}, one is due every "
    said += f"{seen.agent.interval:g} s"
    if not reports:
        return Judged(
            seen=seen, signature=Signature.SETTLING,
            evidence=f"{said}; whoever writes its reports is not well",
        )  # fmt: skip
    return Judged(seen=seen, signature=Signature.FROZEN, evidence=said, restart=True)


def _writes_reports(judged: Judged) -> bool:
    """Say whether others may report through it: agents that do not call, as the conductor."""
    return not judged.seen.wiring.calls


def _steady(judged: Judged) -> bool:
    unit = judged.seen.unit
    lasting = judged.seen.agent.down_after + STARTING
    return (
        judged.signature is Signature.ATTACHED
        and unit is not None
        and unit.since is not None
        and unit.since > lasting
    )


def after_restart(judged: Judged) -> str:
    """Return what to do about an agent that was restarted and is not attached: not that again."""
    queue = judged.seen.queue
    if judged.signature is Signature.DEAF and queue:
        return f"its queue or its binding is broken in the broker: {lost_queue(queue)}"
    if judged.signature is Signature.DOWN:
        return f"journalctl -u {judged.seen.wiring.unit} -n 50 --no-pager: why it does not start"
    if judged.signature is Signature.HALF_OPEN:
        return "look for what drops packets between its host and the broker: firewall, conntrack"
    return f"look into {judged.seen.wiring.log}; backstay check {judged.seen.host or ''}".rstrip()


def faulty(judged: Iterable[Judged], *, force: bool = False) -> list[Judged]:
    """Return those that are to be restarted: never one that is settling.

    With ``force`` also those of which nothing is known, where they have a host.
    """
    return [
        one
        for one in judged
        if one.seen.host is not None
        and (one.restart or (force and one.signature is Signature.UNKNOWN))
    ]
