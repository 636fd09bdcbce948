"""Acts by the policy in cloud.yaml: one thing at a time, each as a run in the journal.

A run is carried out by a process of its own, so that it goes on when the watch ends; it holds the
run's own locks and asks its own gates. What is not done, and why, is a line in the incident, once.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

from backstay.access.session import CloudSession
from backstay.clock import SLACK
from backstay.errors import BackstayError
from backstay.journal.records import JournalError, RunRecord
from backstay.journal.store import Store
from backstay.transports.threads import on_thread
from backstay.watch.act.approvals import Approvals
from backstay.watch.act.guards import (
    Situation,
    WatchAction,
    blocked_by,
    is_ours,
    of_incident,
    wanted,
)
from backstay.watch.act.planning import NotNow, PlannedAction, plan_of
from backstay.watch.act.runs import OwnRuns, RunLauncher
from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.incident import Incident, Kind
from backstay.watch.incidents.log import IncidentLog
from backstay.watch.incidents.notification import NotificationEvent

PAUSE = 2.0
BOUND = 10.0
RUNS = 100
SEEN = 10.0
"""Seconds after which what was seen is too old to act by."""
_BREATH = 0.05

Planned = Callable[..., Awaitable[PlannedAction]]


class Actor:
    """Does what the policy says.

    ``doubt`` says why this process may not lead. ``planned`` makes plans, as ``planning.plan_of``.
    """

    def __init__(
        self,
        site: CloudSession,
        incident_log: IncidentLog,
        feed: SnapshotFeed,
        store: Store,
        approvals: Approvals,
        *,
        doubt: Callable[[], str],
        launcher: RunLauncher,
        planned: Planned = plan_of,
    ) -> None:
        self.site = site
        self.incident_log = incident_log
        self.feed = feed
        self.store = store
        self.own_runs = OwnRuns(site.cloud, incident_log, store, approvals, launcher)
        self.policy = site.cloud.watch.policy
        self._doubt = doubt
        self._launcher = launcher
        self._planned = planned
        self._woken = asyncio.Event()
        self._refused: dict[int, float] = {}

    async def considered(self, incident: Incident) -> None:
        """Consider an incident that was opened or updated."""
        self._refused.pop(incident.id, None)
        self._woken.set()

    async def run(self) -> None:
        """Act forever."""
        while True:
            self._woken.clear()
            await self.act_once()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._woken.wait()

    async def act_once(self) -> None:
        """Follow the runs, then cut every fenced host that is on, or else start at most one run."""
        now = await self._situation()
        ours = [run for run in now.runs if is_ours(run)]
        sure = now.writable and not now.doubt
        if sure:
            await self.own_runs.follow(ours)
            await self.own_runs.withdraw(ours, now.incidents)
        busy = False
        for incident in sorted(now.incidents, key=lambda it: not _is_fenced_on(it)):
            if busy and not _is_fenced_on(incident):
                return
            newest = next((run for run in ours if of_incident(run, incident)), None)
            under_way = await self.own_runs.go_on(incident, newest) if newest and sure else None
            if under_way is None:
                under_way = await self._consider(incident, now, ours)
            busy = busy or under_way

    async def _situation(self) -> Situation:
        started = time.monotonic()
        await asyncio.sleep(_BREATH)
        lag = time.monotonic() - started - _BREATH
        name = self.site.cloud.name
        try:
            runs = await on_thread(lambda: self.store.runs(cloud=name, limit=RUNS), BOUND)
            readable = True
        except (JournalError, TimeoutError):
            runs, readable = [], False
        doubt = self._doubt()
        if not doubt and not -SLACK <= self._launcher.clock() - self.feed.snapshot.at <= SEEN:
            doubt = "the state of the cloud is not known just now"
        return Situation(
            now=self._launcher.clock(),
            doubt=doubt,
            writable=readable and self.incident_log.writable,
            lag=lag,
            incidents=self.incident_log.open_incidents(),
            runs=runs,
            alive=self._launcher.alive,
            ages=self._launcher.ages,
        )

    async def _consider(
        self, incident: Incident, now: Situation, ours: Sequence[RunRecord]
    ) -> bool:
        """Do what the policy wants about an incident, if nothing speaks against it."""
        act = wanted(self.policy, incident.cause, self.site.cloud)
        if act is None or self._launcher.up() < self._refused.get(incident.id, 0.0):
            return False
        if act is WatchAction.ASK and any(of_incident(run, incident) for run in ours):
            return False
        why = blocked_by(act, incident, self.policy, now)
        if why:
            await self.own_runs.once(incident, "blocked", f"{act}: not now: {why}")
            return False
        try:
            made = await self._planned(act, self.site, incident.cause)
            if incident.id not in {one.id for one in self.incident_log.open_incidents()}:
                raise NotNow("acting", came_back="it has recovered by itself", remedy="nothing")
            run = await self.own_runs.planned(incident, made.plan, ours)
        except (BackstayError, TimeoutError) as error:
            await self._refuse(incident, act, error)
            return False
        if act is WatchAction.ASK:
            await self.own_runs.ask(incident, run, f"{run} would {made.does}")
            return False
        event = (
            NotificationEvent.ACTION_TAKEN
            if act in {WatchAction.REPLACE, WatchAction.POWER_OFF}
            else None
        )
        return await self.own_runs.begin(incident, run, f"starts {run}: {made.does}", event=event)

    async def _refuse(self, incident: Incident, act: WatchAction, error: Exception) -> None:
        """Note why nothing is done, and do not ask again for a while."""
        self._refused[incident.id] = self._launcher.up() + self.site.cloud.watch.check
        text = "it could not be planned in time"
        if isinstance(error, BackstayError):
            text = f"{error.attempted}: {error.came_back}"
        await self.own_runs.once(incident, "blocked", f"{act}: not done: {text}")


def _is_fenced_on(incident: Incident) -> bool:
    return incident.cause.kind is Kind.FENCED_HOST_ON
