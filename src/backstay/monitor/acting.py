"""Acts by the policy in cloud.yaml: one thing at a time, each as a run in the journal.

A run is carried out by a process of its own, so that it goes on when the watch ends; it holds the
run's own locks and asks its own gates. What is not done, and why, is a line in the incident, once.
All that has to be known for this is in the journal: a watch that is begun again, or on another
machine, goes on from there.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from backstay.errors import BackstayError
from backstay.health.words import duration
from backstay.inventory.watch import Policy
from backstay.journal.engine import lock_names
from backstay.journal.place import runtime_folder
from backstay.journal.records import JournalError, RunRecord, RunState, StepState
from backstay.journal.store import Store
from backstay.monitor import child
from backstay.monitor.approving import Approvals
from backstay.monitor.brakes import (
    Act,
    Situation,
    held_back,
    is_ours,
    of_incident,
    reason_for,
    wanted,
)
from backstay.monitor.child import Child
from backstay.monitor.incident import Incident
from backstay.monitor.ledger import Ledger
from backstay.monitor.planning import Made, NotNow, plan_of
from backstay.monitor.standing import Board
from backstay.monitor.telling import Word
from backstay.runbooks.replace import plan as replace
from backstay.runbooks.site import Site
from backstay.transports.threads import on_thread

PAUSE = 2.0
BOUND = 10.0
RUNS = 100
SEEN = 10.0
"""Seconds after which what was seen is too old to act by."""
_BREATH = 0.05


class Begin(Protocol):
    """Begins a process."""

    def __call__(self, command: Sequence[str], log: Path) -> Awaitable[Child]:
        """Return the process. Raises BackstayError."""


Planned = Callable[..., Awaitable[Made]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What one look works with: all runs of the cloud, those of the watch, and open incidents."""

    runs: Sequence[RunRecord]
    ours: Sequence[RunRecord]
    incidents: Sequence[Incident]
    situation: Situation


class Actor:
    """Does what the policy says.

    ``doubt`` says why this process may not lead. ``command`` gives Backstay's command line.
    """

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        board: Board,
        store: Store,
        approvals: Approvals,
        *,
        doubt: Callable[[], str],
        command: Callable[..., list[str]],
        begin: Begin = child.begin,
        planned: Planned = plan_of,
        alive: Callable[[RunRecord], bool] = child.alive,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.site = site
        self.ledger = ledger
        self.board = board
        self.store = store
        self.approvals = approvals
        self._doubt = doubt
        self._command = command
        self._begin_process = begin
        self._planned = planned
        self._alive = alive
        self._clock = clock
        self._woken = asyncio.Event()
        self._children: dict[str, Child] = {}
        self._refused: dict[int, float] = {}

    @property
    def policy(self) -> Policy:
        """Return what may be done."""
        return self.site.cloud.watch.policy

    async def considered(self, incident: Incident) -> None:
        """See to an incident that was opened or changed."""
        self._refused.pop(incident.id, None)
        self._woken.set()

    async def run(self) -> None:
        """Act for ever."""
        while True:
            self._woken.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._woken.wait()

    async def look(self) -> None:
        """See how far runs are, then begin at most one."""
        now = await self._now()
        if now is None:
            return
        for incident in now.incidents:
            await self._follow(incident, now)
        await self._withdraw(now)
        for incident in now.incidents:
            seen_to = await self._go_on(incident, now)
            if seen_to is None:
                seen_to = await self._consider(incident, now)
            if seen_to:
                return

    async def _now(self) -> Now | None:
        begun = time.monotonic()
        await asyncio.sleep(_BREATH)
        lag = time.monotonic() - begun - _BREATH
        incidents = self.ledger.open_incidents()
        name = self.site.cloud.name
        try:
            runs = await on_thread(lambda: self.store.runs(cloud=name, limit=RUNS), BOUND)
            readable = True
        except (JournalError, TimeoutError):
            runs, readable = [], False
        doubt = self._doubt()
        if not doubt and self._clock() - self.board.bulletin.at > SEEN:
            doubt = "nothing is known of the cloud just now"
        situation = Situation(
            now=self._clock(),
            doubt=doubt,
            writable=readable and self.ledger.writable,
            lag=lag,
            incidents=incidents,
            runs=runs,
            alive=self._alive,
        )
        ours = [run for run in runs if is_ours(run)]
        return Now(runs=runs, ours=ours, incidents=incidents, situation=situation)

    async def _follow(self, incident: Incident, now: Now) -> None:
        """Tell of the runs for an incident that have ended."""
        for run in now.ours:
            over = run.ended is not None and run.state is not RunState.ABANDONED
            if not over or not of_incident(run, incident):
                continue
            self._forget_child(run.id)
            await self._once(incident, "ended", _ended(run), word=Word.ACTED)

    async def _withdraw(self, now: Now) -> None:
        """Give up what waits for an approval of an incident that is over."""
        if not now.situation.writable:
            return
        for run in now.ours:
            over = not any(of_incident(run, incident) for incident in now.incidents)
            if run.state is RunState.PLANNED and over:
                await self._abandon(run, "the incident is over: it was not begun")

    async def _go_on(self, incident: Incident, now: Now) -> bool | None:
        """Begin, or go on with, the run for an incident that waits or was interrupted.

        Return None where there is none and another may be begun; else whether one is under way.
        """
        run = next((run for run in now.ours if of_incident(run, incident)), None)  # the newest
        if run is None or now.situation.doubt or not now.situation.writable:
            return None
        if run.state is RunState.PLANNED:
            return await self._waits(incident, run)
        if run.state is RunState.RUNNING and self._alive(run):
            return True
        failed = run.state is RunState.FAILED and run.plan.runbook == replace.RUNBOOK
        if run.state is RunState.RUNNING or failed:
            return await self._again(incident, run, failed=failed)
        return None

    async def _again(self, incident: Incident, run: RunRecord, *, failed: bool) -> bool:
        """Go on with a run that has stopped half-way; say whether it is under way."""
        if failed and self._clock() < (run.ended or 0.0) + self.policy.cool_down:
            return False
        taken = await self._taken(run)
        if taken > self.policy.attempts:
            text = f"{run.id} was begun {taken} times: backstay runs resume {run.id}"
            await self._once(incident, "held-back", text)
            return False
        why = "has failed" if failed else "was interrupted"
        return await self._begin(
            incident, run.id, f"{run.id} {why}: it is gone on with, for the {taken + 1}. time"
        )

    async def _taken(self, run: RunRecord) -> int:
        events = await on_thread(lambda: self.store.events(run.id), BOUND)
        return sum(one.kind == "taken" for one in events)

    async def _waits(self, incident: Incident, run: RunRecord) -> bool:
        """See to a run that was planned and not begun."""
        known = self._children.get(run.id)
        if known is not None:
            if known.ended:
                await self._give_up(incident, run, f"could not be begun: {known.complaint()}")
            return not known.ended
        approval = await self.approvals.of(incident)
        if approval is None or approval.run != run.id:
            return await self._begin(incident, run.id, f"begins {run.id}")
        if approval.used is not None:
            await self._once(incident, "approved", f"{run.id} was approved by {approval.by}")
            return await self._begin(incident, run.id, f"begins {run.id}", word=Word.ACTED)
        if not approval.waits(self._clock()):
            await self._give_up(incident, run, "was not approved in time: it is not begun")
        elif not self.approvals.knows(incident):
            # The process that had the code has ended; whether it was sent is not known.
            await self._ask(incident, run.id, f"{run.id}: a new code", approval.until)
        return False

    async def _give_up(self, incident: Incident, run: RunRecord, why: str) -> None:
        self._forget_child(run.id)
        await self._abandon(run, why)
        await self._once(incident, "held-back", f"{run.id} {why}")

    async def _abandon(self, run: RunRecord, why: str) -> None:
        await self.approvals.refuse(run.id)
        await on_thread(lambda: self.store.abandon(run.id, (), why), BOUND)

    async def _consider(self, incident: Incident, now: Now) -> bool:
        """Do what the policy wants about an incident, if nothing speaks against it."""
        act = wanted(self.policy, incident.cause, self.site.cloud)
        if act is None or self._clock() < self._refused.get(incident.id, 0.0):
            return False
        if act is Act.ASK and any(of_incident(run, incident) for run in now.ours):
            return False
        why = held_back(act, incident, self.policy, now.situation)
        if why:
            await self._once(incident, "held-back", f"{act}: not now: {why}")
            return False
        try:
            made = await self._planned(act, self.site, incident.cause)
            run = await self._written(incident, made, now)
        except (BackstayError, TimeoutError) as error:
            await self._refuse(incident, act, error)
            return False
        if act is Act.ASK:
            until = self._clock() + self.policy.approval
            await self._ask(incident, run, f"{run} would {made.does}", until)
            return False
        told = Word.ACTED if act is Act.REPLACE else None
        return await self._begin(incident, run, f"begins {run}: {made.does}", word=told)

    async def _written(self, incident: Incident, made: Made, now: Now) -> str:
        """Write a plan down, unless the incident has ended meanwhile. Raises BackstayError."""
        if incident.id not in {one.id for one in self.ledger.open_incidents()}:
            raise NotNow("acting", came_back="it is over by itself", remedy="nothing")
        reason = reason_for(incident)

        def write() -> str:
            for run in now.ours:
                if of_incident(run, incident) and run.state.unfinished:
                    self.store.abandon(run.id, lock_names(run), "it is tried again by another run")
            return self.store.create(made.plan, reason=reason)

        return await on_thread(write, BOUND)

    async def _refuse(self, incident: Incident, act: Act, error: Exception) -> None:
        """Note why nothing is done, and do not ask again for a while."""
        self._refused[incident.id] = self._clock() + self.site.cloud.watch.check
        if isinstance(error, BackstayError):
            text = f"{error.attempted}: {error.came_back}"
        else:
            text = "it could not be planned in time"
        await self._once(incident, "held-back", f"{act}: not done: {text}")

    async def _ask(self, incident: Incident, run: str, text: str, until: float) -> None:
        await self.approvals.ask(incident, run, lasts=until - self._clock())
        when = f"{datetime.fromtimestamp(until):%H:%M:%S}"
        await self.ledger.note(
            incident, "asked", f"{text}; it begins when somebody approves it before {when}",
            at=self._clock(), run=run, word=Word.ASKED,
        )  # fmt: skip

    async def _begin(
        self, incident: Incident, run: str, text: str, *, word: Word | None = None
    ) -> bool:
        """Let a process of its own carry out a run; say whether it was begun."""
        path = str(self.site.cloud.path)
        log = runtime_folder() / f"{run}.log"
        try:
            command = self._command("runs", "resume", run, "--cloud", path)
            self._children[run] = await self._begin_process(command, log)
        except BackstayError as error:
            await self._once(incident, "held-back", str(error))
            return False
        await self.ledger.note(incident, "acted", text, at=self._clock(), run=run, word=word)
        return True

    def _forget_child(self, run: str) -> None:
        known = self._children.pop(run, None)
        if known is not None:
            known.forget()

    async def _once(
        self, incident: Incident, kind: str, text: str, *, word: Word | None = None
    ) -> None:
        """Add a line to an incident's timeline, unless it is there."""
        if any((line.kind, line.text) == (kind, text) for line in incident.happened):
            return
        await self.ledger.note(incident, kind, text, at=self._clock(), word=word)


def _ended(run: RunRecord) -> str:
    """Return how a run has ended, in a line."""
    if run.state is RunState.DONE:
        return f"{run.id} is done, in {duration(run.seconds or 0.0)}"
    failed = next((step for step in run.steps if step.state is StepState.FAILED), None)
    if failed is None:
        return f"{run.id} is {run.state.value}: backstay runs show {run.id}"
    error = failed.error
    told = f"{error.get('attempted', failed.id)}: {error.get('came_back', '')}"
    return f"{run.id} is {run.state.value}: {told[:600]}"
