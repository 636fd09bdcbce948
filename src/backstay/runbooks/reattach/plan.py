"""The plan of a reattachment, made from what was seen of the agents. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature, faulty
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.plan import Plan, Step
from backstay.quantities import duration
from backstay.runbooks.common.reattacher import batch_size

RUNBOOK = "reattach"
STOP_AFTER = 3
"""So many failures in a row end the run: something else is wrong then."""
VERIFY = 180.0
"""Seconds that a restarted agent may take until it answers a call."""
_SLACK = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An agent as the journal names it. ``signature`` is what it was when the plan was made."""

    binary: str
    host: str
    server: str
    unit: str
    signature: str
    evidence: str

    @property
    def name(self) -> str:
        """Return what it is called: ``nova-compute on compute1``."""
        return f"{self.binary} on {self.host}"


def target_of(judged: AgentDiagnosis) -> Target:
    """Return an agent as the journal names it."""
    seen = judged.seen
    return Target(
        binary=seen.agent.binary,
        host=seen.host or "",
        server=seen.agent.rpc_target,
        unit=seen.rpc_endpoint.unit,
        signature=judged.signature.value,
        evidence=judged.evidence,
    )


def candidates(judged: Sequence[AgentDiagnosis], *, force: bool) -> list[AgentDiagnosis]:
    """Return whom the plan is about: the faulty, and those that settle and may turn out to be."""
    wrong = {id(one) for one in faulty(judged, force=force)}
    return [
        one
        for one in judged
        if id(one) in wrong or (one.signature is Signature.SETTLING and one.seen.host)
    ]


def plan(
    cloud: Cloud,
    judged: Sequence[AgentDiagnosis],
    *,
    at_a_time: int | None = None,
    force: bool = False,
) -> Plan | None:
    """Return the plan, None where there is nobody whom a restart could help.

    ``at_a_time`` is how many agents are restarted at once, None for the usual part of all that
    were looked at, and at least one.
    """
    chosen = [target_of(one) for one in candidates(judged, force=force)]
    if not chosen:
        return None
    # Agents report and call through those on the controllers: these come first.
    chosen.sort(key=lambda one: (Role.CONTROLLER not in cloud.hosts[one.host].roles,))
    size = batch_size(len(judged)) if at_a_time is None else at_a_time
    hosts = tuple(dict.fromkeys(one.host for one in chosen))
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=hosts,
        steps=tuple(_steps(cloud, chosen, size)),
        settings={"force": force, "stop_after": STOP_AFTER, "at_a_time": size},
    )


def _steps(cloud: Cloud, chosen: Sequence[Target], size: int) -> Iterator[Step]:
    reconnect = cloud.maintenance.reconnect
    named = [asdict(one) for one in chosen]
    yield Step(
        id="settle",
        action="settle",
        target="",
        does=f"wait for those that settle; the broker must be up for {duration(reconnect)}",
        bound=reconnect * 2 + _SLACK,
        arguments={"agents": named},
    )
    batches = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    for number, batch in enumerate(batches, 1):
        yield Step(
            id=f"restart-{number}",
            action="restart",
            target=batch[0].host if len(batch) == 1 else "",
            does=f"restart {_describe(batch)}; see each answer a call",
            bound=VERIFY + _SLACK,
            arguments={"agents": [asdict(one) for one in batch]},
        )
    yield Step(
        id="prove",
        action="prove",
        target="",
        does="see that every one of them is attached",
        bound=VERIFY,
        arguments={"agents": named},
    )


def _describe(batch: Sequence[Target]) -> str:
    """Return a batch in words; who settles is restarted only where it does not come by itself."""
    words = [
        f"{one.binary} on {one.host}"
        + (
            ", if it has not come by itself"
            if one.signature == Signature.SETTLING.value
            else f" ({one.signature})"
        )
        for one in batch
    ]
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def targets_of(step: Step) -> list[Target]:
    """Return the agents that a step is about."""
    given: Sequence[dict[str, Any]] = step.arguments["agents"]
    return [Target(**one) for one in given]
