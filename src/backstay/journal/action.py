"""What a runbook gives for each kind of step: how it is done, and how one sees that it was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from backstay.errors import BackstayError
from backstay.journal.plan import Plan, Step

Result = Mapping[str, Any]
"""What a step brought, as JSON data without secrets; later steps and the report read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What an action sees of its run.

    ``results`` are those of the steps done so far, by step id. ``say`` tells the operator, and
    the journal, how far the step is. ``begun`` is when the step was first begun, in Unix seconds:
    a step that is done again after an interruption still has its first beginning.
    """

    run: str
    plan: Plan
    step: Step
    results: Mapping[str, Result]
    begun: float
    say: Callable[[str], None]


class Action(Protocol):
    """One kind of step. Both raise BackstayError where it cannot be done or told."""

    async def do(self, running: Running) -> Result:
        """Bring the effect about and return what came of it. Safe to repeat."""

    async def probe(self, running: Running) -> Result | None:
        """Return the result if the effect is there already, None if it has to be done (again).

        Asked on resume of a step that was under way or that failed.
        """


class Refused(BackstayError):
    """The run may not go on, and nothing was changed by this step: gates, hooks that say no."""
