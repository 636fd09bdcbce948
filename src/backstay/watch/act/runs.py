"""The runs of the watch: planned, approved, started, resumed; and the notification of their end.

All that has to be known of them is in the journal: a watch that is restarted, or on another
machine, goes on from there.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from backstay.clock import Ages, since_boot
from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.engine import lock_names
from backstay.journal.place import runtime_folder
from backstay.journal.plan import Plan
from backstay.journal.records import RunRecord, RunState, StepState
from backstay.journal.store import Store
from backstay.quantities import duration
from backstay.runbooks.replace import plan as replace
from backstay.transports.threads import on_thread
from backstay.watch.act import run_process
from backstay.watch.act.approvals import Approvals
from backstay.watch.act.guards import cool_down, of_incident, reason_for
from backstay.watch.act.run_process import RunProcess
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.log import IncidentLog
from backstay.watch.incidents.notification import NotificationEvent

BOUND = 10.0
FRESH = 900.0
"""Seconds after the end of a run within which its end is still notified."""
_INCIDENT = re.compile(r"incident-(\d+): ")


class StartProcess(Protocol):
    """Begins a process."""

    def __call__(self, command: Sequence[str], log: Path) -> Awaitable[RunProcess]:
        """Return the process. Raises BackstayError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLauncher:
    """How a run is carried out. ``command`` gives Backstay's command line with some words.

    ``clock`` is the wall clock, ``ages`` tell how long ago a time by it was.
    """

    command: Callable[..., list[str]]
    begin: StartProcess = run_process.start_process
    alive: Callable[[RunRecord], bool] = run_process.alive
    clock: Callable[[], float] = time.time
    ages: Ages = field(init=False)

    def __post_init__(self) -> None:
        """Make the ages: another wall clock than the machine's goes on as it likes."""
        object.__setattr__(self, "ages", Ages(self.clock, self.up))

    def up(self) -> float:
        """Return seconds by a clock that nobody sets."""
        return since_boot() if self.clock is time.time else self.clock()


class OwnRuns:
    """The watch's own runs of one cloud. Its calls raise JournalError and TimeoutError."""

    def __init__(
        self,
        cloud: Cloud,
        incident_log: IncidentLog,
        store: Store,
        approvals: Approvals,
        launcher: RunLauncher,
    ) -> None:
        self._cloud = cloud
        self._policy = cloud.watch.policy
        self._incident_log = incident_log
        self._store = store
        self._approvals = approvals
        self._launcher = launcher
        self._children: dict[str, RunProcess] = {}
        self._ends_reported: set[str] = set()

    async def follow(self, ours: Sequence[RunRecord]) -> None:
        """Tell of the runs that have ended."""
        for run in ours:
            ended = run.ended is not None and run.state is not RunState.ABANDONED
            if not ended or run.id in self._ends_reported:
                continue
            self._forget_child(run.id)
            self._ends_reported.add(run.id)
            named = _INCIDENT.search(run.reason)
            if named and self._launcher.ages.of(run.ended or 0.0) < FRESH:
                incident = await self._incident_log.incident(int(named.group(1)))
                if incident is not None:
                    await self.once(
                        incident, "run_ended", _ended(run), event=NotificationEvent.ACTION_TAKEN
                    )

    async def withdraw(self, ours: Sequence[RunRecord], open_ones: Sequence[Incident]) -> None:
        """Give up what was planned for an incident that is over."""
        for run in ours:
            over = not any(of_incident(run, incident) for incident in open_ones)
            process = self._children.get(run.id)
            begins = process is not None and not process.ended
            if run.state is RunState.PLANNED and over and not begins:
                await self._abandon(run, "the incident is resolved: it was not started")

    async def go_on(self, incident: Incident, run: RunRecord) -> bool | None:
        """Start or continue the newest run for an incident.

        Return None if another may be started, otherwise whether this one is running.
        """
        if run.state is RunState.PLANNED:
            return await self._waits(incident, run)
        if run.state is RunState.RUNNING:
            return self._launcher.alive(run) or await self._again(incident, run, "was interrupted")
        pause = cool_down(run.plan.runbook, self._policy)
        late = self._launcher.ages.of(run.ended or 0.0) >= pause
        if run.state is RunState.DONE and not late:
            return False  # what it repaired comes back
        if run.state is RunState.FAILED and run.plan.runbook == replace.RUNBOOK:
            mine = self._policy.controller_dead == "replace"
            return late and mine and await self._again(incident, run, "has failed")
        return None

    async def _again(self, incident: Incident, run: RunRecord, why: str) -> bool:
        """Go on with a run that has stopped half-way; return whether it is under way."""
        known = self._children.get(run.id)
        if known is not None and not known.ended:
            return True
        events = await on_thread(lambda: self._store.events(run.id), BOUND)
        taken = sum(one.kind == "taken" for one in events)
        if taken > self._policy.attempts:
            text = f"{run.id} was started {taken} times: backstay runs resume {run.id}"
            await self.once(incident, "blocked", text)
            return False
        return await self.begin(incident, run.id, f"{run.id} {why}: it is resumed")

    async def _waits(self, incident: Incident, run: RunRecord) -> bool:
        """Handle a run that is planned but not started; return whether it is running."""
        known = self._children.get(run.id)
        if known is not None:
            if known.ended:
                await self._give_up(incident, run, f"could not be started: {known.complaint()}")
            return not known.ended
        approval = await self._approvals.of(incident)
        if approval is not None and approval.run != run.id:
            approval = None
        freely = run.plan.runbook != replace.RUNBOOK or self._policy.controller_dead == "replace"
        if approval is None and freely:
            return await self.begin(incident, run.id, f"starts {run.id}")
        if approval is None:  # ended between planning and asking
            await self.ask(incident, run.id, f"{run.id} was planned")
        elif approval.used is not None:
            await self.once(incident, "approved", f"{run.id} was approved by {approval.by}")
            return await self.begin(
                incident, run.id, f"starts {run.id}", event=NotificationEvent.ACTION_TAKEN
            )
        elif not approval.waits(approval.made + self._launcher.ages.of(approval.made)):
            await self._give_up(incident, run, "was not approved in time: it is not started")
        elif not self._approvals.knows(incident):
            # The process that had the code has ended; whether it was sent is not known.
            await self.ask(incident, run.id, f"{run.id}: a new code", until=approval.until)
        return False

    async def _give_up(self, incident: Incident, run: RunRecord, why: str) -> None:
        self._forget_child(run.id)
        await self._abandon(run, why)
        await self.once(incident, "blocked", f"{run.id} {why}")

    async def _abandon(self, run: RunRecord, why: str) -> None:
        await self._approvals.refuse(run.id)
        await on_thread(lambda: self._store.abandon(run.id, (), why), BOUND)

    async def planned(self, incident: Incident, plan: Plan, ours: Sequence[RunRecord]) -> str:
        """Write a plan down for an incident; return its run. Earlier ones that failed are over."""

        def write() -> str:
            for run in ours:
                if of_incident(run, incident) and run.state.in_flight:
                    self._store.abandon(run.id, lock_names(run.plan), "another run tries it again")
            return self._store.create(plan.of_file(self._cloud.path), reason=reason_for(incident))

        return await on_thread(write, BOUND)

    async def ask(
        self, incident: Incident, run: str, text: str, *, until: float | None = None
    ) -> None:
        """Let a run wait for an approval, and ask for it."""
        now = self._launcher.clock()
        until = now + self._policy.approval if until is None else until
        await self._approvals.ask(incident, run, lasts=until - now)
        when = f"{datetime.fromtimestamp(until):%H:%M:%S}"
        await self._incident_log.note(
            incident,
            "approval_requested",
            f"{text}; it starts when it is approved before {when}",
            at=now,
            run=run,
            event=NotificationEvent.APPROVAL_REQUESTED,
        )

    async def begin(
        self, incident: Incident, run: str, text: str, *, event: NotificationEvent | None = None
    ) -> bool:
        """Carry out a run in a process of its own; return whether it was started."""
        log = runtime_folder() / f"{run}.log"
        try:
            command = self._launcher.command(
                "runs", "resume", run, "--cloud", str(self._cloud.path)
            )
            self._children[run] = await self._launcher.begin(command, log)
        except BackstayError as error:
            await self.once(incident, "blocked", str(error))
            return False
        now = self._launcher.clock()
        await self._incident_log.note(incident, "action_taken", text, at=now, run=run, event=event)
        return True

    def _forget_child(self, run: str) -> None:
        known = self._children.pop(run, None)
        if known is not None:
            known.forget()

    async def once(
        self, incident: Incident, kind: str, text: str, *, event: NotificationEvent | None = None
    ) -> None:
        """Add a line to an incident's timeline, unless it is there."""
        if any((line.kind, line.text) == (kind, text) for line in incident.timeline):
            return
        await self._incident_log.note(incident, kind, text, at=self._launcher.clock(), event=event)


def _ended(run: RunRecord) -> str:
    """Return how a run has ended, in a line."""
    if run.state is RunState.DONE:
        return f"{run.id} is done, in {duration(run.seconds or 0.0)}"
    failed = next((step for step in run.steps if step.state is StepState.FAILED), None)
    if failed is None:
        return f"{run.id} is {run.state.value}: backstay runs show {run.id}"
    error = failed.error
    message = f"{error.get('attempted', failed.id)}: {error.get('came_back', '')}"
    return f"{run.id} is {run.state.value}: {message[:600]}"
