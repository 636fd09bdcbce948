"""The kinds of step of a reconciliation: which mismatches each is about, its results. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from backstay.journal.action import StepKind
from backstay.journal.plan import Step
from backstay.journal.result import StepResult
from backstay.services.reconciliation import Mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A mismatch as the journal names it, with the name and the arguments of its repair."""

    service: str
    subject: str
    kind: str
    host: str
    name: str
    arguments: dict[str, str]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what identifies the mismatch among others (``Mismatch.key``)."""
        return (self.service, self.subject, self.kind, self.host)


def target_of(mismatch: Mismatch) -> Target:
    """Return a mismatch that is safe to repair as the journal names it."""
    assert mismatch.repair is not None  # noqa: S101 - for mypy
    return Target(
        service=mismatch.service,
        subject=mismatch.subject,
        kind=mismatch.kind.value,
        host=mismatch.host,
        name=mismatch.repair.name,
        arguments=dict(mismatch.repair.arguments),
    )


def targets_of(step: Step) -> list[Target]:
    """Return the mismatches that a step is about."""
    given: Sequence[Mapping[str, Any]] = step.arguments["targets"]
    return [Target(**mismatch) for mismatch in given]


def known_of(step: Step) -> set[tuple[str, ...]]:
    """Return the keys of the mismatches that nothing repairs, as they were before the repairs."""
    return {tuple(key) for key in step.arguments.get("known", ())}


@dataclass(frozen=True, kw_only=True)
class Repaired(StepResult):
    """Subjects of the mismatches that were repaired, and of those left as they are now."""

    OLD_KEYS: ClassVar[Mapping[str, str]] = {"healed": "repaired"}

    repaired: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reconciled(StepResult):
    """None of the plan's mismatches is left.

    ``proved`` is how many they were, ``others`` the subjects of mismatches that are not the plan's.
    """

    proved: int
    others: tuple[str, ...]


REPAIR = StepKind("repair", Repaired)
PROVE = StepKind("prove", Reconciled)
KINDS = (REPAIR, PROVE)
"""All kinds, in the order of a plan; there is a step ``repair`` for each kind of repair."""
OLD_REPAIR = "heal"
"""What plans of older versions call ``REPAIR``."""
