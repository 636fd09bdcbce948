"""What a runbook gives for each kind of step: how it is done, and how one sees that it was."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from backstay.errors import BackstayError
from backstay.journal.plan import Plan, Step
from backstay.journal.records import Claim, JournalError, RunState
from backstay.journal.result import StepResult

Result = Mapping[str, Any]
"""A step's result as JSON data, as the journal stores it."""
R = TypeVar("R", bound=StepResult)
T_co = TypeVar("T_co", bound=StepResult, covariant=True)


@dataclass(frozen=True, slots=True)
class StepKind(Generic[R]):
    """The one declaration of a kind of step: plans, actions and reports refer to it.

    Attributes:
        name: what plans call it (``Step.action``).
        result: the type of its result.
        phase: the phase of the report that it belongs to, empty for none.

    """

    name: str
    result: type[R]
    phase: str = ""

    def id(self, host: str) -> str:
        """Return the id of this step for a host."""
        return f"{host}.{self.name}"

    def step(self, host: str, does: str, bound: float, *, target: str | None = None) -> Step:
        """Return this step for a plan.

        ``host`` is whose step it is, ``target`` the host that it changes, the same by default;
        ``does`` and ``bound`` (seconds) are as ``Step`` has them.
        """
        return Step(
            id=self.id(host),
            action=self.name,
            target=host if target is None else target,
            does=does,
            bound=bound,
        )

    def by(self, action: "Action[R]") -> "tuple[str, Action[Any]]":
        """Return the pair for ``Runbook.actions``: this kind of step is done by ``action``."""
        return self.name, action


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What an action sees of its run.

    Attributes:
        run: the run's id.
        results: of the steps done so far, as JSON data by step id; ``result`` reads them typed.
        started: when the step was first started, in Unix seconds: a step that is done again after
            an interruption still has its first start.
        report: reports progress to the operator and the journal.
        require_lease: returns while the run may go on, else raises LeaseLost or LockLost: asked
            before what cannot be taken back, where a cancelled step still cleans up.
        claim: the run's right to act, None where there is no engine.
        again: whether an earlier attempt of this step did not end well: what it did is not known.

    """

    run: str
    plan: Plan
    step: Step
    results: Mapping[str, Result]
    started: float
    report: Callable[[str], None]
    require_lease: Callable[[], None] = lambda: None
    claim: Claim | None = None
    again: bool = False

    @property
    def resume(self) -> str:
        """Return the command that resumes this run."""
        return f"backstay runs resume {self.run}"

    @property
    def abandon(self) -> str:
        """Return the command that ends this run for good."""
        return f"backstay runs abandon {self.run}"

    @property
    def host(self) -> str:
        """Return the host of this step; for a step of the whole cloud the plan's first target."""
        return self.step.target or self.plan.targets[0]

    def find(self, kind: StepKind[R], host: str = "") -> R | None:
        """Return the result of a step that is done, None while it is not.

        ``host`` is whose step it is, this step's own host by default. Raises JournalError where
        the result cannot be read.
        """
        found = self.results.get(kind.id(host or self.host))
        return None if found is None else kind.result.from_json(found)

    def result(self, kind: StepKind[R], host: str = "") -> R:
        """Return the result of a step that must be done by now. Raises JournalError if it is not.

        ``host`` as for ``find``.
        """
        found = self.find(kind, host)
        if found is None:
            raise JournalError(
                self.step.does,
                came_back=f"the step {kind.id(host or self.host)} of this run is not done",
                remedy=f"report this with the output of: backstay runs show {self.run}",
            )
        return found


class Action(ABC, Generic[T_co]):
    """One kind of step. Both methods raise BackstayError where the step or the probe fails."""

    @abstractmethod
    async def do(self, running: Running) -> T_co:
        """Bring the effect about and return the result. Safe to repeat."""

    async def probe(self, running: Running) -> T_co | None:
        """Return the result if the effect is there already, None if the step has to be done.

        Called on resume for a step that was interrupted or failed. By default the step is done
        again.
        """
        return None


Around = Callable[[Running], AbstractAsyncContextManager[object]]


def _nothing(_running: Running) -> AbstractAsyncContextManager[object]:
    return nullcontext()


async def _no_look() -> None:
    """Look at nothing."""


async def _no_end(_state: RunState) -> None:
    """Do nothing at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """What carries out the plans of one runbook.

    Attributes:
        actions: by the names of their kinds of step.
        around: entered around each step, its probe and its work, within the step's bound: guards
            and recordings that go on meanwhile, composed in one place.
        look: called beside each step, again and again: raises LeaseLost where the run may not go
            on with its hosts.
        ended: called with the state in which the run has ended, when that is written down.

    """

    actions: Mapping[str, Action[Any]]
    around: Around = field(default=_nothing)
    look: Callable[[], Awaitable[None]] = field(default=_no_look)
    ended: Callable[[RunState], Awaitable[None]] = field(default=_no_end)


class Refused(BackstayError):
    """The run may not go on, and nothing was changed by this step: gates, hooks that refuse."""
