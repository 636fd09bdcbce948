"""The parts of a run's report: phases on a clock, and the outages meanwhile. Pure."""

from dataclasses import dataclass

from backstay.journal.records import StepState
from backstay.maintenance.outages import Outage, OutageSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the run. Times are Unix seconds; ``state`` is that of its last step."""

    name: str
    begins: float
    ends: float
    state: StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageLine:
    """The outages of one API or instance, with those of past runs for comparison.

    ``down`` is for how many seconds it did not answer in this run, ``past`` the median of past
    runs, None where there is none.
    """

    kind: str
    what: str
    down: float
    asked: int
    unanswered: int
    outages: tuple[Outage, ...]
    past: float | None


def outage_line_of(series: OutageSeries, past: float | None = None) -> OutageLine:
    """Return the line of a report for one recorded API or instance."""
    return OutageLine(
        kind=series.kind,
        what=series.what,
        down=series.down,
        asked=series.asked,
        unanswered=series.unanswered,
        outages=series.outages,
        past=past,
    )
