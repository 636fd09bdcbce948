"""The plan of healing what is safe, made from a look. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.plan import Plan, Step
from backstay.runbooks.reconcile.observe import RECORDS_BOUND
from backstay.services.reconciliation import Mismatch, RepairCommand
from backstay.services.registry import all_reconcilers

RUNBOOK = "reconcile"
LOOK_BOUND = 4 * RECORDS_BOUND
"""Two looks, with hosts that do not answer in between."""
PROVE_BOUND = 180.0
PROGRAM_BOUND = 90.0
"""Seconds that a program on a controller may take for one heal; nova-manage starts slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A mismatch as the journal names it."""

    service: str
    subject: str
    kind: str
    host: str
    name: str
    arguments: dict[str, str]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what the mismatch is known by in a look."""
        return (self.service, self.subject, self.kind, self.host)


def healings() -> dict[str, RepairCommand]:
    """Return every kind of safe change, by its name."""
    return {name: healing for kept in all_reconcilers() for name, healing in kept.heals.items()}


def plan(cloud: Cloud, mismatches: Sequence[Mismatch]) -> Plan | None:
    """Return the plan that heals the safe ones, a step for each kind of change.

    None where there is nothing that is safe to heal.
    """
    targets = [_target(one) for one in mismatches if one.heal]
    if not targets:
        return None
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=_hosts(cloud, targets),
        steps=tuple(_steps(targets)),
        settings={},
    )


def _hosts(cloud: Cloud, targets: Sequence[Target]) -> tuple[str, ...]:
    """Return the hosts that nobody else may work on meanwhile: those concerned, and controllers."""
    controllers = [host.name for host in cloud.with_role(Role.CONTROLLER)]
    return tuple(dict.fromkeys([*filter(None, (one.host for one in targets)), *controllers]))


def _steps(targets: Sequence[Target]) -> Iterator[Step]:
    by_name: dict[str, list[Target]] = {}
    for one in targets:
        by_name.setdefault(one.name, []).append(one)
    for name, members in by_name.items():
        each = PROGRAM_BOUND if healings()[name].program else 45.0
        yield Step(
            id=name,
            action="heal",
            target="",
            does=f"look again, then {healings()[name].does}: {_listed(members)}",
            bound=LOOK_BOUND + each * len(members),
            arguments={"targets": [asdict(one) for one in members]},
        )
    yield Step(
        id="prove",
        action="prove",
        target="",
        does="see that none of them differs any more",
        bound=PROVE_BOUND,
        arguments={"targets": [asdict(one) for one in targets]},
    )


def _target(one: Mismatch) -> Target:
    assert one.heal is not None  # noqa: S101 - for mypy
    return Target(
        service=one.service,
        subject=one.subject,
        kind=one.kind.value,
        host=one.host,
        name=one.heal.name,
        arguments=dict(one.heal.arguments),
    )


def _listed(members: Sequence[Target], limit: int = 1) -> str:
    words = [one.subject for one in members[:limit]]
    more = [f"{len(members) - limit} more"] if len(members) > limit else []
    return ", ".join(words + more)


def targets_of(step: Step) -> list[Target]:
    """Return the mismatches that a step is about."""
    given: Sequence[dict[str, Any]] = step.arguments["targets"]
    return [Target(**one) for one in given]
