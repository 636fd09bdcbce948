"""What one look brought: mismatches, and what could not be asked. Plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backstay.finding import Finding
from backstay.services.reconciliation import Evidence, Mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A question without an answer: ``what`` was asked, of which ``host``, and why it is unknown.

    ``host`` is empty where the cloud as a whole was asked.
    """

    what: str
    host: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecords:
    """Everything that hosts told, before anybody judges it."""

    seen: Evidence
    missing: tuple[Missing, ...] = ()
    guards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileObservation:
    """What a look at records and reality found.

    ``guards`` are findings on settings that are dangerous while the two differ. ``notes`` are what
    is not compared in this cloud. ``compared`` is how many records were read, by query.
    """

    mismatches: tuple[Mismatch, ...]
    missing: tuple[Missing, ...] = ()
    guards: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    compared: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def safe(self) -> list[Mismatch]:
        """Return those that ``--apply`` heals."""
        return [one for one in self.mismatches if one.safe]


def kept_in_both(before: Iterable[Mismatch], after: Sequence[Mismatch]) -> list[Mismatch]:
    """Return those of a second look that the first had too: what was only on its way is left out.

    Pure. Records and guests are read within a moment, and yet not in the same: an instance that is
    built, moved or deleted in between is no mismatch.
    """
    known = {one.key for one in before}
    return [one for one in after if one.key in known]
