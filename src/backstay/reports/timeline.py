"""What reports of runs are made of: phases on a clock, and what was out meanwhile. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backstay.journal.records import StepState
from backstay.maintenance.outages import Outage


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the run. Times are Unix seconds; ``state`` is that of its last step."""

    name: str
    begins: float
    ends: float
    state: StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What was seen of one API or instance, and for how long it was out in past runs (seconds)."""

    kind: str
    what: str
    down: float
    asked: int
    unanswered: int
    outages: tuple[Outage, ...]
    past: float | None


def line_of(seen: Mapping[str, Any], past: float | None = None) -> Line:
    """Return what a recorder has put down of one API or instance (``recorder.as_data``)."""
    return Line(
        kind=seen["kind"],
        what=seen["what"],
        down=seen["down"],
        asked=seen["asked"],
        unanswered=seen["unanswered"],
        outages=tuple(Outage(**outage) for outage in seen["outages"]),
        past=past,
    )
