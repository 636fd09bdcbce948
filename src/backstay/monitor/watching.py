"""The watch's loop: asks, follows how everything stands, opens and closes incidents.

Every part is a task of its own: nothing waits for the database, a slow host or another part, and a
part that fails is a trouble that is told, not the end.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from backstay.errors import BackstayError
from backstay.finding import Finding, Severity
from backstay.inventory.watch import Watch
from backstay.journal.store import Store
from backstay.monitor.causes import Scene, causes
from backstay.monitor.confirming import Confirming
from backstay.monitor.incident import Cause, Incident
from backstay.monitor.matching import Change, Close, Open, matched
from backstay.monitor.probing.agents import AgentQuestions
from backstay.monitor.probing.apis import ApiQuestions, Passes
from backstay.monitor.probing.reach import Reach
from backstay.monitor.probing.streams import streams
from backstay.monitor.recovery import Recovery
from backstay.monitor.sign import Look, Sign
from backstay.monitor.silences import silences
from backstay.monitor.standing import Board, Bulletin, Silence, State
from backstay.monitor.store import Minute
from backstay.monitor.topology import AGENT, HOST, host_subject, topology
from backstay.monitor.tracking import Tracking
from backstay.runbooks.site import Site
from backstay.transports.echoes import Echoes
from backstay.transports.ssh import HostShell
from backstay.transports.threads import on_thread

if TYPE_CHECKING:
    from backstay.monitor.confirmed import HostWord

LAG = 0.3
"""Seconds by which this process may be late before a late answer is its own fault."""
LAG_COUNTS = 3.0
RUNS = 8
RUNS_EVERY = 3.0
RUNS_BOUND = 5.0
CHECK_BOUND = 120.0
AGAIN = 10.0
"""Seconds between two looks at a host that is down: what was dead may prove to be off."""
RESTART = 1.0


class Incidents(Protocol):
    """What keeps incidents (``monitor.ledger``); it raises nothing for a database that is away."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """Return what is wrong with where they are kept, in words."""

    async def open(self, cause: Cause, *, began: float, at: float) -> Incident:
        """Note an incident."""

    async def change(
        self, incident: Incident, cause: Cause, *, at: float, text: str, tell: bool = False
    ) -> Incident:
        """Note that more is known of it."""

    async def close(self, incident: Incident, *, at: float, text: str) -> None:
        """Note that it is over."""

    def open_incidents(self) -> tuple[Incident, ...]:
        """Return those that are open."""

    async def keep(self, minutes: Sequence[Minute]) -> None:
        """Keep history."""


class Watching:
    """Watches a cloud: gives ``board`` a bulletin each second, ``ledger`` the incidents.

    ``store`` is where runs are read from. ``leader`` is who watches, ``troubles`` what else is
    wrong with the watch. ``on_incident`` is called for every incident that is opened or changed.
    """

    def __init__(
        self,
        site: Site,
        watch: Watch,
        ledger: Incidents,
        board: Board,
        store: Store,
        *,
        leader: str,
        troubles: Callable[[], Sequence[str]],
        on_incident: Callable[[Incident], Awaitable[None]],
    ) -> None:
        cloud = site.cloud
        self.site = site
        self.watch = watch
        self.ledger = ledger
        self.board = board
        self.store = store
        self.leader = leader
        self.troubles = troubles
        self.on_incident = on_incident
        self.top = topology(cloud, site.services)
        self.tracking = Tracking(self.top, watch.recovered, self._excuse)
        self.confirming = Confirming(site)
        self.agents = AgentQuestions(site, self.tracking.take)
        api = site.api if isinstance(site.api, BackstayError | Passes) else _no_passes()
        self.apis = ApiQuestions(cloud, site.services, api, self.tracking.take)
        self.shell = HostShell(connect_bound=cloud.bounds.connect_seconds)
        self.streams = streams(cloud, site.services, self.shell, self._heard)
        addresses = [(host.name, host.address) for host in cloud.hosts.values()]
        self.echoes = Echoes(addresses, every=watch.every / 2)
        self.reach = Reach(self.echoes, self.streams, watch.every)
        self.recovery = Recovery(self.tracking.tracks)
        self.words: dict[str, HostWord] = {}
        self.silent: tuple[Silence, ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self.checked_at: float | None = None
        self._due = time.monotonic()
        self._lagged = 0.0
        self._part_troubles: dict[str, str] = {}
        self._looked: dict[str, float] = {}
        self._to_act: dict[int, Incident] = {}
        self._side: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch for ever."""
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "asking every second": self._tick_forever,
            "deciding": self._decide_forever,
            "pinging": self.echoes.run,
            "keeping a token": self.apis.keep_token,
            "the list of agents": self.agents.keep_list,
            "calling agents": self.agents.call_doubtful,
            "the whole check": self._check_forever,
            "reading the runs": self._read_runs_forever,
            "keeping history": self._keep_history_forever,
            "reading what asks BMCs": self.confirming.warm,
        }
        parts |= {f"the channel to {name}": one.run for name, one in self.streams.items()}
        tasks = [asyncio.ensure_future(self._part(name, run)) for name, run in parts.items()]
        try:
            await asyncio.gather(*tasks)
            await asyncio.Event().wait()
        finally:
            tasks += self._side.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.shell.close()

    async def _part(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run one part; where it fails that is a trouble, and it is begun again."""
        while True:
            try:
                await run()
            except Exception as error:  # whatever it is, the others go on
                self._part_troubles[name] = f"{name}: {type(error).__name__}: {error}"
                await asyncio.sleep(RESTART)
            else:
                return

    async def _tick_forever(self) -> None:
        self._due = time.monotonic()
        while True:
            if time.monotonic() - self._due > LAG:
                self._lagged = time.monotonic()
            self._tick()
            await self.board.publish(self._bulletin())
            self._due = max(self._due + self.watch.every, time.monotonic())
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))

    def _tick(self) -> None:
        """Ask the APIs, look how the hosts answer, forget what is old."""
        self.apis.ask_all(self.watch.late)
        self.echoes.drain()
        for host in self.site.cloud.hosts:
            sign = self.reach.sign(host)
            if sign.bad and self._is_late:
                continue  # what has come meanwhile has not been read yet
            self.tracking.take(sign)
        self.tracking.forget(time.time())
        self._confirm_suspects()

    @property
    def _is_late(self) -> bool:
        """Say whether this process itself is late, or was just now."""
        now = time.monotonic()
        return now - self._due > LAG or now - self._lagged < LAG_COUNTS

    def _excuse(self, host: str) -> str:
        """Return why answers may be late, empty where nothing is known."""
        if self._is_late:
            return "this machine is busy itself"
        return self.reach.excuse(host) if host else ""

    def _heard(self, host: str, found: Sequence[Sign], glance: object) -> None:
        for sign in found:
            self.tracking.take(sign)
        if glance is not None:
            self.agents.glanced(glance)

    def _confirm_suspects(self) -> None:
        """Begin to look at hosts that are suspect, and again at those that are down."""
        now = time.monotonic()
        for host in self.site.cloud.hosts:
            track = self.tracking.tracks[host_subject(host).key]
            if track.state is State.UP:
                self.words.pop(host, None)
                continue
            pause = AGAIN if track.state is State.DOWN else 0.5
            if track.state not in {State.SUSPECT, State.DOWN}:
                continue
            if now - self._looked.get(host, 0.0) >= pause:
                self._aside(f"looking at {host}", lambda host=host: self._confirm(host))  # type: ignore[misc]

    async def _confirm(self, host: str) -> None:
        """Look at one host from everywhere, and take what is found as a sign."""
        key = host_subject(host).key
        unreached = {
            track.subject.host
            for track in self.tracking.tracks.values()
            if track.subject.service == HOST and track.look is Look.SILENT and track.bad
        }
        if self.tracking.tracks[key].look is Look.LATE:
            word = await self.confirming.whole(host)
        else:
            word = await self.confirming.quick(host, unreached - {host})
        self._looked[host] = time.monotonic()
        track = self.tracking.tracks[key]
        if word.kind is None or track.state not in {State.SUSPECT, State.DOWN}:
            return
        self.words[host] = word
        sure = Sign(
            subject=track.subject, look=track.look, evidence=word.reason, at=time.time(), sure=True
        )
        self.tracking.take(sure)
        self.tracking.changed.set()

    def _aside(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something aside, unless it is under way."""
        if name in self._side and not self._side[name].done():
            return

        async def guarded() -> None:
            try:
                await work()
            except Exception as error:  # the loop goes on
                self._part_troubles[name] = f"{name}: {type(error).__name__}: {error}"
            else:
                self._part_troubles.pop(name, None)

        self._side[name] = asyncio.ensure_future(guarded())

    async def _decide_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.watch.every):
                    await self.tracking.changed.wait()
            self.tracking.changed.clear()
            await self._decide()

    async def _decide(self) -> None:
        now = time.time()
        incidents = self.ledger.open_incidents()
        scene = Scene(
            now=now,
            tracks=self.tracking.tracks,
            topology=self.top,
            words=self.words,
            findings=self.recovery.findings,
            silent=frozenset(one.host for one in self.silent),
            kept=self.recovery.kept(incidents, now),
        )
        over = self.recovery.over
        for one in matched(incidents, causes(scene), lambda cause: over(cause, now), now):
            await self._carry_out(one, now)

    async def _carry_out(self, one: Open | Change | Close, now: float) -> None:
        if isinstance(one, Open):
            found = one.found
            incident = await self.ledger.open(found.cause, began=found.began, at=now)
        elif isinstance(one, Change):
            incident = await self.ledger.change(
                one.incident, one.cause, at=now, text=one.text, tell=one.tell
            )
        else:
            await self.ledger.close(one.incident, at=now, text=one.text)
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
            begun = time.monotonic()
            try:
                async with asyncio.timeout(CHECK_BOUND):
                    found = await self.site.check()
            except TimeoutError:
                self._part_troubles["check"] = f"the check did not end within {CHECK_BOUND:g} s"
            else:
                self._part_troubles.pop("check", None)
                self.findings, self.checked_at = tuple(found), time.time()
                self.recovery.checked([f for f in found if f.severity is Severity.FAILED])
                self.tracking.changed.set()
            await asyncio.sleep(max(1.0, begun + self.watch.check - time.monotonic()))

    async def _read_runs_forever(self) -> None:
        name = self.site.cloud.name
        while True:
            try:
                runs = await on_thread(lambda: self.store.runs(cloud=name, limit=RUNS), RUNS_BOUND)
            except (TimeoutError, BackstayError) as error:
                self._part_troubles["runs"] = f"the runs cannot be read: {error}"
            else:
                self._part_troubles.pop("runs", None)
                self.silent = silences(runs, time.time(), alive)
            await asyncio.sleep(RUNS_EVERY)

    async def _keep_history_forever(self) -> None:
        while True:
            minutes = self.tracking.history.finished(time.time())
            if minutes:
                await self.ledger.keep(minutes)
            await asyncio.sleep(5.0)

    def _bulletin(self) -> Bulletin:
        own = [one for one in (self.apis.trouble, self.agents.trouble) if one]
        agents_known = any(t.subject.service == AGENT for t in self.tracking.tracks.values())
        if not self.echoes.allowed:
            own.append("this user may not ping: hosts are judged by their channels only")
        if not agents_known and not self.agents.trouble and self.agents.agents:
            own.append("the broker tells nothing of agents yet")
        troubles = (*own, *self._part_troubles.values(), *self.ledger.troubles, *self.troubles())
        return Bulletin(
            at=time.time(),
            cloud=self.site.cloud.name,
            leading=True,
            leader=self.leader,
            standings=self.tracking.standings(),
            silences=self.silent,
            findings=self.findings,
            checked_at=self.checked_at,
            troubles=tuple(dict.fromkeys(troubles)),
        )


def alive(machine: str, process: int) -> bool:
    """Say whether a process may be alive: of another machine nothing is known."""
    if machine != socket.gethostname():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _no_passes() -> BackstayError:
    return BackstayError(
        "asking the APIs every second",
        came_back="these credentials give no tokens to ask with",
        remedy="backstay check",
    )
