"""The plan that repairs the mismatches that are safe to repair. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.action import StepKind
from backstay.journal.plan import Plan, Step
from backstay.runbooks.reconcile import steps
from backstay.runbooks.reconcile.observe import RECORDS_BOUND
from backstay.runbooks.reconcile.steps import Target, target_of
from backstay.services.reconciliation import Mismatch, RepairCommand
from backstay.services.registry import all_reconcilers

RUNBOOK = "reconcile"
OBSERVE_BOUND = 4 * RECORDS_BOUND
"""Seconds for comparing twice, with hosts that do not answer in between."""
PROVE_BOUND = 180.0
PROGRAM_BOUND = 90.0
"""Seconds that a program on a controller may take for one repair; nova-manage starts slowly."""
API_BOUND = 45.0
"""Seconds that one repair by the APIs may take."""


def repair_commands() -> dict[str, RepairCommand]:
    """Return every kind of repair, by its name."""
    return {name: it for reconciler in all_reconcilers() for name, it in reconciler.repairs.items()}


def plan(cloud: Cloud, mismatches: Sequence[Mismatch]) -> Plan | None:
    """Return the plan that makes the safe repairs, with a step for each kind of repair.

    None where nothing is safe to repair.
    """
    targets = [target_of(mismatch) for mismatch in mismatches if mismatch.repair]
    if not targets:
        return None
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=_hosts(cloud, targets),
        steps=tuple(_steps(targets, [one for one in mismatches if not one.repair])),
    )


def _hosts(cloud: Cloud, targets: Sequence[Target]) -> tuple[str, ...]:
    """Return the hosts to lock: those of the mismatches, and the controllers."""
    controllers = [host.name for host in cloud.with_role(Role.CONTROLLER)]
    concerned = filter(None, (target.host for target in targets))
    return tuple(dict.fromkeys([*concerned, *controllers]))


def _steps(targets: Sequence[Target], others: Sequence[Mismatch]) -> Iterator[Step]:
    by_name: dict[str, list[Target]] = {}
    for target in targets:
        by_name.setdefault(target.name, []).append(target)
    commands = repair_commands()
    for name, members in by_name.items():
        command = commands[name]
        each = PROGRAM_BOUND if command.program else API_BOUND
        does = f"compare again, then {command.does}: {_listed(members)}"
        yield _step(steps.REPAIR, name, does, OBSERVE_BOUND + each * len(members), members)
    does = "compare until none of them differs any more"
    prove = _step(steps.PROVE, steps.PROVE.name, does, PROVE_BOUND, targets)
    known = [list(one.key) for one in others]
    yield replace(prove, arguments={**prove.arguments, "known": known})


def _step(
    kind: StepKind[Any], name: str, does: str, bound: float, targets: Sequence[Target]
) -> Step:
    return Step(
        id=name,
        action=kind.name,
        target="",
        does=does,
        bound=bound,
        arguments={"targets": [asdict(target) for target in targets]},
    )


def _listed(members: Sequence[Target], limit: int = 1) -> str:
    names = [target.subject for target in members[:limit]]
    more = [f"{len(members) - limit} more"] if len(members) > limit else []
    return ", ".join(names + more)
