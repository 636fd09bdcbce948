"""The plan of a reattachment, made from the diagnoses of agents. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature, faulty
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.action import StepKind
from backstay.journal.plan import Plan, Step
from backstay.quantities import duration
from backstay.runbooks.common.reattacher import batch_size
from backstay.runbooks.reattach import steps
from backstay.runbooks.reattach.steps import Target, target_of

RUNBOOK = "reattach"
STOP_AFTER = 3
"""How many failed restarts in a row end the run: the cause is another then."""
VERIFY = 180.0
"""Seconds that a restarted agent may take until it answers a call."""
_SLACK = 60.0


def candidates(diagnoses: Sequence[AgentDiagnosis], *, force: bool) -> list[AgentDiagnosis]:
    """Return the agents of the plan: the faulty, and the settling, which may turn out to be."""
    wrong = {id(one) for one in faulty(diagnoses, force=force)}
    return [
        one
        for one in diagnoses
        if id(one) in wrong
        or (one.signature is Signature.SETTLING and one.seen.host and one.seen.agent.in_service)
    ]


def plan(
    cloud: Cloud,
    diagnoses: Sequence[AgentDiagnosis],
    *,
    at_a_time: int | None = None,
    force: bool = False,
) -> Plan | None:
    """Return the plan, None where a restart could help no agent.

    ``at_a_time`` is how many agents are restarted at once, None for the usual share of all that
    were diagnosed, and at least one. With ``force`` agents in unknown state are restarted, too.
    """
    chosen = [target_of(one) for one in candidates(diagnoses, force=force)]
    if not chosen:
        return None
    # Agents report and call through those on the controllers: these come first.
    chosen.sort(key=lambda target: Role.CONTROLLER not in cloud.hosts[target.host].roles)
    size = batch_size(len(diagnoses)) if at_a_time is None else at_a_time
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=tuple(dict.fromkeys(target.host for target in chosen)),
        steps=tuple(_steps(cloud, chosen, size)),
        settings={"force": force, "stop_after": STOP_AFTER, "at_a_time": size},
    )


def _steps(cloud: Cloud, chosen: Sequence[Target], size: int) -> Iterator[Step]:
    reconnect = cloud.maintenance.reconnect
    yield _step(
        steps.SETTLE,
        f"wait for agents that are settling; the broker must be up for {duration(reconnect)}",
        reconnect * 2 + _SLACK,
        chosen,
    )
    batches = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    for number, batch in enumerate(batches, 1):
        yield _step(
            steps.RESTART,
            f"restart {_describe(batch)}; wait until each answers a call",
            VERIFY + _SLACK,
            batch,
            id_=f"{steps.RESTART.name}-{number}",
            host=batch[0].host if len(batch) == 1 else "",
        )
    yield _step(steps.PROVE, "prove that all of them are attached", VERIFY, chosen)


def _step(
    kind: StepKind[Any],
    does: str,
    bound: float,
    agents: Sequence[Target],
    *,
    id_: str = "",
    host: str = "",
) -> Step:
    return Step(
        id=id_ or kind.name,
        action=kind.name,
        target=host,
        does=does,
        bound=bound,
        arguments={"agents": [asdict(agent) for agent in agents]},
    )


def _describe(batch: Sequence[Target]) -> str:
    """Return a batch in words; an agent that is settling is restarted only if that fails."""
    words = [
        f"{target.name}, unless it reconnects"
        if target.signature == Signature.SETTLING.value
        else f"{target.name} ({target.signature})"
        for target in batch
    ]
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
