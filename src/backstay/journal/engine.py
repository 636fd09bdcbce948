"""Carry out a plan: each step is written down before it is started and after it has ended."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backstay.errors import BackstayError, own_error
from backstay.journal.action import Action, Refused, Result, Runbook, Running
from backstay.journal.lease_watch import LeaseWatch, Look
from backstay.journal.locks import LockLost, held
from backstay.journal.plan import Plan, Step
from backstay.journal.records import (
    Claim,
    EventKind,
    JournalError,
    LeaseLost,
    RunRecord,
    RunState,
    StepRecord,
    StepState,
)
from backstay.journal.store import Store
from backstay.transports.threads import on_thread

CONFIRM_BOUND = 4.0
"""Seconds for the journal's answer whether a run is still ours, beside a running step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the terminal shows of a run that is carried out."""

    step: Step
    kind: EventKind
    text: str = ""
    error: BackstayError | None = None


ShowProgress = Callable[[Progress], None]


BESIDE_OTHERS = frozenset({"power-off"})
"""Runbooks that touch no host of the cloud, and so run beside another run: a fenced host is on."""


def lock_names(plan: Plan) -> list[str]:
    """Return the locks of its run: its cloud's, unless it runs beside others; its hosts'."""
    hosts = [f"{plan.cloud}/{host}" for host in plan.targets]
    return hosts if plan.runbook in BESIDE_OTHERS else [plan.cloud, *hosts]


async def carry_out(
    store: Store, run: RunRecord, runbook: Runbook, *, locks: str, progress: ShowProgress
) -> RunState:
    """Carry out a run from where it is, under its locks, and return how it ended.

    Steps that are done are not repeated; one that was under way or failed is probed first.
    A step that fails ends the run where it is. Raises LockHeld and JournalError; LeaseLost and
    LockLost where the run or a lock was lost: within seconds, its step is cancelled. The run is
    then marked as failed, unless it is another's by now.
    """
    names = lock_names(run.plan)
    shown = _harmless(progress)
    async with held(locks, names, store.holder) as mine:
        run = store.run(run.id)  # as the process that had the lock before left it
        claim = store.take(run.id, names)
        looks = (mine.confirm, lambda: _confirm(store, claim), runbook.look)
        steps = _Steps(store, claim, run, runbook, shown, looks)
        state = await steps.carry_out()
        await runbook.ended(state)
        return state


async def _confirm(store: Store, claim: Claim) -> None:
    """Ask the journal whether the run is still ours. Raises LeaseLost, and what is no answer."""
    await on_thread(lambda: store.confirm(claim), CONFIRM_BOUND)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Carries out the steps of a run that are not done; ``looks`` are made beside each."""

    store: Store
    claim: Claim
    run: RunRecord
    runbook: Runbook
    progress: ShowProgress
    looks: Sequence[Look]
    results: dict[str, Result] = field(default_factory=dict)

    async def carry_out(self) -> RunState:
        """Carry out all, and write down how the run ended. Raises as ``carry_out``."""
        run, store, claim = self.run, self.store, self.claim
        self.results.update({s.id: s.result for s in run.steps if s.state is StepState.DONE})
        for step, record in zip(run.plan.steps, run.steps, strict=True):
            if record.state is StepState.DONE:
                continue
            try:
                action = self.runbook.actions[step.action]
                self.results[step.id] = await self.step(step, record, action)
            except (LeaseLost, LockLost) as error:
                self._show_failure(step, error)
                with contextlib.suppress(JournalError):  # another's by now: then that one writes
                    store.fail(claim, step.id, error)
                    store.end(claim, RunState.FAILED)
                raise
            except Exception as found:
                # Whatever it is: the run shall be left in a state that is shown and can be resumed.
                why = _for_operator(found, run, step)
                self._show_failure(step, why)
                store.fail(claim, step.id, why)
                state = _ended_by(why, step, run, self.results)
                store.end(claim, state)
                return state
        store.end(claim, RunState.DONE)
        return RunState.DONE

    def _show_failure(self, step: Step, error: BackstayError) -> None:
        self.progress(Progress(step=step, kind=EventKind.FAILED, text=str(error), error=error))

    async def step(self, step: Step, record: StepRecord, action: Action[Any]) -> Result:
        """Carry out one step, or find that it is done, and write its result down."""
        await self.looks[0]()  # before it is written down as started
        again = record.state in {StepState.RUNNING, StepState.FAILED}
        started = self.store.start(self.claim, step.id)
        self.progress(Progress(step=step, kind=EventKind.STARTED))
        lease = LeaseWatch()
        running = Running(
            run=self.run.id,
            plan=self.run.plan,
            step=step,
            results=dict(self.results),
            started=started,
            report=lambda text: self._report(step, text, lease),
            require_lease=lease.require,
            claim=self.claim,
            again=again,
        )
        try:
            async with (
                lease.watching(self.looks),
                asyncio.timeout(step.bound) as limit,
                self.runbook.around(running),
            ):
                probed = await action.probe(running) if again else None
                produced = probed if probed is not None else await action.do(running)
        except TimeoutError as error:
            if limit.expired():
                raise _too_late(running) from error
            raise
        result: Result = produced.to_json()
        text = str(produced.summary) if probed is None else "was done already"
        self.store.finish(self.claim, step.id, result, text=text)
        self.progress(Progress(step=step, kind=EventKind.DONE, text=text))
        return result

    def _report(self, step: Step, text: str, lease: LeaseWatch) -> None:
        """Note and show progress. Raises LeaseLost where the run is another's by now."""
        try:
            self.store.progress(self.claim, step.id, text)
        except LeaseLost as error:
            lease.report(error)  # whatever the step makes of it, it is cancelled
            raise
        except JournalError:
            pass  # raised by the next write that matters
        self.progress(Progress(step=step, kind=EventKind.PROGRESS, text=text))


def _ended_by(
    error: BackstayError, step: Step, run: RunRecord, results: Mapping[str, Any]
) -> RunState:
    """Return how a run ends with this error: refused only where nothing was changed."""
    others = [done for done in run.plan.steps if done.id in results and done.target != step.target]
    return RunState.REFUSED if isinstance(error, Refused) and not others else RunState.FAILED


def _harmless(progress: ShowProgress) -> ShowProgress:
    """Return the same for a run: that its progress cannot be shown is no reason to stop it."""

    def show(news: Progress) -> None:
        with contextlib.suppress(Exception):
            progress(news)

    return show


def _for_operator(error: Exception, run: RunRecord, step: Step) -> BackstayError:
    """Return the error of a step as the journal stores it."""
    if isinstance(error, BackstayError):
        return error
    return BackstayError(
        step.does,
        came_back=own_error(error),
        remedy=f"report it with this line; when the cause is fixed: backstay runs resume {run.id}",
    )


def _too_late(running: Running) -> BackstayError:
    step = running.step
    on = f" on {step.target}" if step.target else ""
    return BackstayError(
        f"{step.does}{on}",
        came_back=f"it was not done within its bound of {step.bound:g} s",
        remedy=f"find what it waits for, then: {running.resume}",
    )
