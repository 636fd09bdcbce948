"""The loop of the watch: probes, tracks states, opens and resolves incidents.

Every part is a task of its own: nothing waits for the database, a slow host or another part, and a
part that fails is a problem that is reported, not the end.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, own_error
from backstay.finding import Finding, Severity
from backstay.health.addresses import is_second_host
from backstay.health.check import check
from backstay.inventory.watch import Watch
from backstay.journal.store import Store
from backstay.transports.ping_monitor import PingMonitor
from backstay.transports.ssh import HostShell
from backstay.transports.threads import on_thread
from backstay.watch.act.run_process import alive
from backstay.watch.detect.agents import AgentProbes
from backstay.watch.detect.apis import ApiProbes, TokenSource
from backstay.watch.detect.corroboration import Corroborator
from backstay.watch.detect.host_stream import streams
from backstay.watch.detect.probe import ProbeResult
from backstay.watch.detect.reachability import HostReachability
from backstay.watch.detect.second_hosts import SecondHosts
from backstay.watch.detect.silences import silences
from backstay.watch.detect.status import Silence, Snapshot, SnapshotFeed, State
from backstay.watch.detect.suspects import SuspectHosts
from backstay.watch.detect.topology import host_subject, topology
from backstay.watch.detect.tracker import StateTracker
from backstay.watch.incidents.correlate import CorrelationInput, causes
from backstay.watch.incidents.incident import Cause, Incident, Kind
from backstay.watch.incidents.matching import (
    OpenIncident,
    ResolveIncident,
    UpdateIncident,
    match_incidents,
)
from backstay.watch.incidents.recovery import Recovery
from backstay.watch.incidents.store import Minute
from backstay.watch.supervisor import TaskSupervisor, first_of

if TYPE_CHECKING:
    from backstay.journal.records import RunRecord

LAG = 0.3
"""Seconds by which this process may be late before a late answer is its own fault."""
LAG_COUNTS = 3.0
STEADY = 60.0
TOLD = 60.0
"""Seconds for which a failed side task is shown as a problem."""
RUNS = 8
RUNS_EVERY = 3.0
RUNS_BOUND = 5.0
CHECK_BOUND = 120.0


class Incidents(Protocol):
    """What keeps incidents (``incidents.log``); it raises nothing for a database that is away."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with where they are kept, in words."""

    async def open(self, cause: Cause, *, began: float, at: float) -> Incident:
        """Note an incident."""

    async def change(
        self, incident: Incident, cause: Cause, *, at: float, text: str, notify: bool = False
    ) -> Incident:
        """Note that more is known of it."""

    async def close(self, incident: Incident, *, at: float, text: str) -> None:
        """Note that it is over."""

    def open_incidents(self) -> tuple[Incident, ...]:
        """Return those that are open."""

    async def keep(self, minutes: Sequence[Minute]) -> None:
        """Keep history."""


class WatchLoop:
    """Watches a cloud: gives ``feed`` a snapshot each second, ``incident_log`` the incidents.

    ``store`` is where runs are read from. ``leader`` is who watches, ``problems`` what else is
    wrong with the watch. ``on_incident`` is called for every incident that is opened or changed.
    """

    def __init__(
        self,
        site: CloudSession,
        watch: Watch,
        incident_log: Incidents,
        feed: SnapshotFeed,
        store: Store,
        *,
        leader: str,
        problems: Callable[[], Sequence[str]],
        on_incident: Callable[[Incident], Awaitable[None]],
    ) -> None:
        cloud = site.cloud
        self.site = site
        self.watch = watch
        self.incident_log = incident_log
        self.feed = feed
        self.store = store
        self.leader = leader
        self.problems = problems
        self.on_incident = on_incident
        self.top = topology(cloud, site.services)
        self.tracker = StateTracker(self.top, watch.recovered, self._excuse)
        self.parts = TaskSupervisor(logging.getLogger(__name__).warning)
        self.corroborator = Corroborator(site)
        self.suspects = SuspectHosts(self.tracker, self.corroborator, self._aside)
        self.agents = AgentProbes(
            site,
            self.tracker.take,
            self._steady,
            [key for key, unit in self.top.units.items() if unit.agent],
        )
        self.second_hosts = SecondHosts(
            site, self.tracker.take, self._is_up, self._shared_addresses
        )
        given = site.api if site.probe_api is None else site.probe_api
        api = given if isinstance(given, BackstayError | TokenSource) else _no_passes()
        self.apis = ApiProbes(cloud, site.services, api, self.tracker.take)
        self.shell = HostShell(connect_bound=cloud.bounds.connect_seconds)
        self.streams = streams(cloud, site.services, self.shell, self._heard)
        addresses = [(host.name, host.address) for host in cloud.hosts.values()]
        self.ping_monitor = PingMonitor(addresses, every=watch.every / 2)
        self.reach = HostReachability(self.ping_monitor, self.streams, watch.every)
        self.recovery = Recovery(self.tracker.targets)
        self.silent: tuple[Silence, ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self.checked_at: float | None = None
        self._due = time.monotonic()
        self._lagged = 0.0
        self._wrong: dict[str, str] = {}
        self._to_act: dict[int, Incident] = {}
        self._side: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch forever."""
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "asking every second": self._tick_forever,
            "looking for silent hosts": self._look_forever,
            "deciding": self._decide_forever,
            "pinging": self.ping_monitor.run,
            "keeping a token": self.apis.keep_token,
            "the list of agents": self.agents.keep_list,
            "calling agents": self.agents.call_doubtful,
            "the power of fenced hosts": self.second_hosts.watch_powers,
            "who answers for addresses": self.second_hosts.watch_addresses,
            "the whole check": self._check_forever,
            "reading the runs": self._read_runs_forever,
            "keeping history": self._keep_history_forever,
        }
        parts |= {f"the channel to {name}": one.run for name, one in self.streams.items()}
        self._aside("reading what asks BMCs", self.corroborator.warm)
        try:
            await first_of(*(self.parts.keep(name, run) for name, run in parts.items()))
        finally:
            aside = list(self._side.values())
            for task in aside:
                task.cancel()
            await asyncio.gather(*aside, return_exceptions=True)
            self.shell.close()

    async def _tick_forever(self) -> None:
        self._due = time.monotonic()
        while True:
            if time.monotonic() - self._due > LAG:
                self._lagged = time.monotonic()
            self._tick()
            await self.feed.publish(self._bulletin())
            self._due = max(self._due + self.watch.every, time.monotonic())
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))

    def _tick(self) -> None:
        """Ask the APIs, look how the hosts answer, forget what is old."""
        self.apis.ask_all(self.watch.late, self.tracker.may_be_slow)
        self.ping_monitor.drain()
        for host in self.site.cloud.hosts:
            self.tracker.take(self.reach.probe_result(host))
        self.tracker.forget(time.time())

    async def _look_forever(self) -> None:
        """Look for silent hosts more often than all is asked: others must be asked about them."""
        while True:
            await asyncio.sleep(self.watch.every / 3)
            self.ping_monitor.drain()
            for host in self.site.cloud.hosts:
                result = self.reach.probe_result(host)
                if result.bad:
                    self.tracker.take(result)
            self.suspects.confirm_suspects()

    @property
    def _is_late(self) -> bool:
        """Return whether this process itself is late, or was just now."""
        now = time.monotonic()
        return now - self._due > LAG or now - self._lagged < LAG_COUNTS

    def _excuse(self, host: str) -> str:
        """Return why answers may be late, empty where nothing is known."""
        if self._is_late:
            return "the monitoring host itself is busy"
        return self.reach.excuse(host) if host else ""

    def _is_up(self, host: str) -> bool:
        """Return whether nothing is known against a host's being there."""
        target = self.tracker.targets.get(host_subject(host).key)
        return target is None or target.state is not State.DOWN

    def _shared_addresses(self) -> list[str]:
        """Return the hosts of open incidents about an address that two hosts answer for."""
        known = (incident.cause for incident in self.incident_log.open_incidents())
        return [cause.host for cause in known if cause.kind is Kind.DUPLICATE_ADDRESS]

    def _steady(self, host: str, unit: str) -> bool:
        """Return whether a unit has been running for so long that it had the time to connect."""
        stream = self.streams.get(host)
        return stream is not None and (stream.reported.age(unit) or 0.0) > STEADY

    def _heard(self, host: str, found: Sequence[ProbeResult], polled: object) -> None:
        for result in found:
            self.tracker.take(result)
        self.agents.saw_units(found)
        if polled is not None:
            self.agents.polled(polled)

    def _aside(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something aside, unless it is under way."""
        if name in self._side:
            return

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:  # the loop goes on
                self._wrong[name] = f"{name}: {own_error(error)}"
                asyncio.get_running_loop().call_later(TOLD, self._wrong.pop, name, None)
            finally:
                self._side.pop(name, None)

        self._side[name] = asyncio.ensure_future(guarded())

    async def _decide_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.watch.every):
                    await self.tracker.changed.wait()
            self.tracker.changed.clear()
            await self._decide()

    async def _decide(self) -> None:
        now = time.time()
        incidents = self.incident_log.open_incidents()
        inputs = CorrelationInput(
            now=now,
            targets=self.tracker.targets,
            topology=self.top,
            corroborations=self.suspects.corroborations,
            findings=self.recovery.findings,
            silenced=frozenset(one.host for one in self.silent),
            recovering=self.recovery.recovering(incidents, now),
            silent_streams=frozenset(self.reach.silent_streams()),
            calls=self.agents.calls,
        )
        over = self.recovery.over
        for one in match_incidents(incidents, causes(inputs), lambda cause: over(cause, now), now):
            await self._carry_out(one, now)

    async def _carry_out(
        self, one: OpenIncident | UpdateIncident | ResolveIncident, now: float
    ) -> None:
        if isinstance(one, OpenIncident):
            found = one.found
            incident = await self.incident_log.open(found.cause, began=found.began, at=now)
        elif isinstance(one, UpdateIncident):
            incident = await self.incident_log.change(
                one.incident, one.cause, at=now, text=one.text, notify=one.notify
            )
        else:
            await self.incident_log.close(one.incident, at=now, text=one.text)
            return
        self._to_act[incident.id] = incident
        self._aside(f"acting on {incident.name}", lambda: self._acted(incident.id))

    async def _acted(self, number: int) -> None:
        """Hand an incident on, and the newer one where it has changed meanwhile."""
        while number in self._to_act:
            await self.on_incident(self._to_act.pop(number))

    async def _check_forever(self) -> None:
        await asyncio.sleep(min(5.0, self.watch.check))
        while True:
            started, calm = time.monotonic(), self._is_calm()
            try:
                async with asyncio.timeout(CHECK_BOUND):
                    found = await check(self.site)
            except TimeoutError:
                self._wrong["check"] = f"the check did not finish within {CHECK_BOUND:g} s"
            else:
                self._wrong.pop("check", None)
                self.findings, self.checked_at = tuple(found), time.time()
                failed = [
                    finding
                    for finding in found
                    if finding.severity is Severity.FAILED
                    and not is_second_host(finding, self.site.cloud.fenced)
                ]
                self.recovery.checked(failed, calm=calm and self._is_calm())
                self.tracker.changed.set()
            await asyncio.sleep(max(1.0, started + self.watch.check - time.monotonic()))

    def _is_calm(self) -> bool:
        """Return whether there are no open incidents but findings of the check."""
        aside = {Kind.FINDING, Kind.CHANNEL_FAILED}
        return all(one.cause.kind in aside for one in self.incident_log.open_incidents())

    async def _read_runs_forever(self) -> None:
        name = self.site.cloud.name
        runs: list[RunRecord] = []
        while True:
            try:
                runs = await on_thread(lambda: self.store.runs(cloud=name, limit=RUNS), RUNS_BOUND)
            except (TimeoutError, BackstayError) as error:
                self._wrong["runs"] = f"the runs cannot be read: {error}"
            else:
                self._wrong.pop("runs", None)
            # Of runs that are known: they end.
            self.silent = silences(runs, time.time(), alive)
            await asyncio.sleep(RUNS_EVERY)

    async def _keep_history_forever(self) -> None:
        while True:
            minutes = self.tracker.history.finished(time.time())
            if minutes:
                await self.incident_log.keep(minutes)
            await asyncio.sleep(5.0)

    def _bulletin(self) -> Snapshot:
        return Snapshot(
            at=time.time(),
            cloud=self.site.cloud.name,
            leading=True,
            leader=self.leader,
            targets=self.tracker.statuses(),
            silences=self.silent,
            findings=self.findings,
            checked_at=self.checked_at,
            problems=tuple(dict.fromkeys(self._problems())),
        )

    def _problems(self) -> list[str]:
        """Return what is wrong with the watch itself."""
        found = [one for one in (self.apis.trouble, self.agents.trouble) if one]
        if not self.ping_monitor.allowed:
            found.append("this user may not ping: hosts are judged by their status channels only")
        found += [f"{name}: {one.trouble}" for name, one in self.streams.items() if one.nonsense]
        found += [*self.parts.problems, *self._wrong.values()]
        return [*found, *self.incident_log.problems, *self.problems()]


def _no_passes() -> BackstayError:
    return BackstayError(
        "probing the APIs",
        came_back="these credentials give no tokens",
        remedy="backstay check",
    )
