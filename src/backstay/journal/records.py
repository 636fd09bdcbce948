"""Runs as the journal stores them, as plain values. Times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from backstay.answers import Count, Seconds
from backstay.errors import BackstayError
from backstay.journal.plan import Plan


class RunState(StrEnum):
    """The state of a run. ``RUNNING`` under a dead holder is an interrupted run: resume it."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    ABANDONED = "abandoned"

    @property
    def in_flight(self) -> bool:
        """Return whether the run may have left a cloud half-way, and can be resumed."""
        return self in {RunState.PLANNED, RunState.RUNNING, RunState.FAILED}


class StepState(StrEnum):
    """The state of a step."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


FAILURE = ("attempted", "came_back", "remedy")
"""The keys of a failed step's ``error``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step of a run: when it was first started (``began``), how many times (``attempts``).

    ``error`` has all of ``FAILURE`` where the step failed.
    """

    id: str
    state: StepState
    began: Seconds | None
    ended: Seconds | None
    attempts: Count
    result: Mapping[str, Any]
    error: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run. ``holder`` is the process that carries it out, or did last (``epochs.me``)."""

    id: str
    state: RunState
    plan: Plan
    who: str
    holder: str
    reason: str
    ticket: str
    made: Seconds
    began: Seconds | None
    ended: Seconds | None
    steps: tuple[StepRecord, ...]

    @property
    def seconds(self) -> float | None:
        """Return how long it took from its first step to its end, None while it is not over."""
        return None if self.began is None or self.ended is None else self.ended - self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to write about a run: the epochs of its targets when it was taken.

    ``journal`` is the name of the journal itself, which no other has.
    """

    run: str
    epochs: Mapping[str, int]
    journal: str = ""


def with_current_keys(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step's result, perhaps of an older version, with the keys of this one."""
    return {"summary" if key == "told" else key: value for key, value in result.items()}


class EventKind(StrEnum):
    """What happened in a run."""

    TAKEN = "taken"
    STARTED = "started"
    PROGRESS = "progress"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    SPARE_OFF = "spare_off"
    """A spare that was given up half-way is off, or a person has confirmed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a run: ``at`` is Unix seconds, ``step`` is empty for the run as a whole."""

    at: Seconds
    step: str
    kind: str
    text: str


class JournalError(BackstayError):
    """The journal cannot be read or written."""


class NoSuchRun(JournalError):
    """There is no run of that name."""


class RunOver(JournalError):
    """A run that was to be abandoned has ended meanwhile."""


class DamagedRun(JournalError):
    """What the journal holds of ``run`` cannot be read.

    ``over`` says that it is known at least that the run is done or was given up.
    """

    def __init__(self, run: str, *, came_back: str, over: bool) -> None:
        super().__init__(
            f"reading run {run} in the journal",
            came_back=f"it is damaged: {came_back}",
            remedy="other runs can be read; to have this one back, restore the journal from a copy"
            + ("" if over else f"; or end it for good: backstay runs abandon {run}"),
        )
        self.run = run
        self.over = over


class LeaseLost(JournalError):
    """Another process has taken the run or its hosts over: this one must change nothing more."""
