"""A cloud, and an actor with a real journal whose runs are carried out by nobody."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backstay.access.session import CloudSession
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord, RunState
from backstay.journal.store import Store
from backstay.watch.act.actor import Actor
from backstay.watch.act.approvals import Approvals
from backstay.watch.act.guards import WatchAction
from backstay.watch.act.planning import PlannedAction
from backstay.watch.act.runs import RunLauncher
from backstay.watch.detect.status import Snapshot, SnapshotFeed
from backstay.watch.incidents.incident import Cause, Incident
from backstay.watch.incidents.log import IncidentLog
from backstay.watch.incidents.store import WatchStore


def cloud_of(policy: dict[str, Any]) -> Cloud:
    return Cloud.model_validate(
        {
            "name": "lab",
            "credentials": {"environment": True},
            "hosts": {
                "controller": {"address": "10.0.0.1", "roles": ["controller"]},
                "proxy": {"address": "10.0.0.2", "roles": ["storage-proxy"]},
                "compute1": {"address": "10.0.0.3", "roles": ["compute"]},
                "spare1": {"address": "10.0.0.4", "roles": ["spare"], "spare_for": ["controller"]},
            },
            "watch": {"policy": policy},
        }
    )


CLOUD = cloud_of({})


class Process:
    """What would carry out a run."""

    def __init__(self) -> None:
        self.ended = False
        self.said = "no cloud.yaml"

    def complaint(self) -> str:
        return self.said

    def forget(self) -> None:
        pass


class Acted:
    """An actor, what it has started, and the journal beneath it."""

    def __init__(self, folder: Path, policy: dict[str, Any]) -> None:
        self.url = f"sqlite:///{folder}/journal.db"
        self.now = 10_000.0
        self.doubt = ""
        self.wrong: Exception | None = None
        self.started: list[str] = []
        self.killed: set[str] = set()
        self.planned: list[WatchAction] = []
        self.processes: list[Process] = []
        self.site = CloudSession(cloud=cloud_of(policy), shell=None, api=None)  # type: ignore[arg-type]
        self.store = Store(self.url)
        self.watch_store = WatchStore(self.url, "lab")
        self.approvals = Approvals(WatchStore(self.url, "lab"), clock=lambda: self.now)
        self.feed = SnapshotFeed("lab")
        self.anew()

    def anew(self) -> None:
        """As after a restart of the watch."""
        self.incident_log = IncidentLog(
            WatchStore(self.url, "lab"),
            channels=lambda _: ["mail"],
            keep=1e9,
            clock=lambda: self.now,
        )
        launcher = RunLauncher(
            command=lambda *words: list(words),
            begin=self._begin,  # type: ignore[arg-type]
            alive=self._alive,
            clock=lambda: self.now,
        )
        self.actor = Actor(
            self.site,
            self.incident_log,
            self.feed,
            self.store,
            self.approvals,
            doubt=lambda: self.doubt,
            launcher=launcher,
            planned=self._plan,
        )

    def _alive(self, run: RunRecord) -> bool:
        return run.id not in self.killed

    async def _begin(self, command: Sequence[str], _log: Path) -> Process:
        self.started.append(command[2])
        self.processes.append(Process())
        return self.processes[-1]

    async def _plan(self, act: WatchAction, _site: CloudSession, cause: Cause) -> PlannedAction:
        self.planned.append(act)
        if self.wrong is not None:
            raise self.wrong
        runbook = {
            WatchAction.RESTART: "restart",
            WatchAction.REATTACH: "reattach",
            WatchAction.POWER_OFF: "power-off",
        }.get(act, "replace")
        step = Step(id="x", action="x", target=cause.host, does="x", bound=1.0)
        plan = Plan(runbook=runbook, cloud="lab", targets=(cause.host,), steps=(step,))
        return PlannedAction(plan=plan, does="do it")

    async def act_once(self, seconds: float = 1.0) -> None:
        """Look once, so much later."""
        self.now += seconds
        await self.feed.publish(Snapshot(at=self.now, cloud="lab", leading=True, leader="me"))
        await self.actor.act_once()

    async def open(self, cause: Cause) -> Incident:
        await self.incident_log.start()
        return await self.incident_log.open(cause, began=self.now, at=self.now)

    def carry_out(self, run: str, state: RunState) -> None:
        """Let a run be taken and end."""
        claim = self.store.take(run, ["lab"])
        if state is not RunState.RUNNING:
            self.store.end(claim, state)

    def lines(self, kind: str) -> list[str]:
        """The lines of that kind in all timelines."""
        found = self.watch_store.everything()
        return [it.text for one in found for it in one.incident.timeline if it.kind == kind]
