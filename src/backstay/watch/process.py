"""The watch as one process with one event loop.

The page is served by the leader and by those that stand by. Only the leader probes, notifies and
acts. Each task is restarted by itself when it fails.
"""

import asyncio
import contextlib
import os
import signal
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backstay.access.session import CloudSession, FindingSource
from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.journal.epochs import me
from backstay.journal.locks import LockLost
from backstay.journal.place import journal_url, locks_url, runtime_folder
from backstay.journal.store import Store
from backstay.services.declaration import Api
from backstay.transports.ssh import HostShell
from backstay.transports.systemd import notify, sign_of_life_every
from backstay.transports.threads import on_thread
from backstay.watch.act.actor import Actor
from backstay.watch.act.approvals import Approvals
from backstay.watch.act.runs import RunLauncher
from backstay.watch.cloud_file import CloudFile
from backstay.watch.detect.status import Snapshot, SnapshotFeed
from backstay.watch.election import PAUSE, RETRY, Lead, lead
from backstay.watch.file_limit import raise_file_limit
from backstay.watch.incidents.log import IncidentLog
from backstay.watch.incidents.store import BUSY, WatchStore
from backstay.watch.loop import WatchLoop
from backstay.watch.notify.notifier import Notifier
from backstay.watch.notify.routing import channels_for
from backstay.watch.supervisor import TaskSupervisor, first_of
from backstay.watch.web.app import make_app
from backstay.watch.web.server import serve

STALE = 60.0
"""Seconds without a snapshot after which the watching counts as stuck, and is restarted."""
END = 4.5
"""Seconds that the end of everything may take; then the process ends as it is."""
_PAGE_LONGEST = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the command line gives: how cloud.yaml is read, how its APIs are reached.

    ``probe_api`` reaches them by the watch's own account, None where it has none. ``command`` gives
    Backstay's own command line with some words, ``say`` writes a line of the log.
    """

    load: Callable[[Path], Cloud]
    api: Callable[[Cloud], Api | BackstayError]
    probe_api: Callable[[Cloud], Api | BackstayError | None]
    sources: Sequence[FindingSource]
    command: Callable[..., list[str]]
    say: Callable[[str], None]


class Process:
    """The watch of the cloud that ``path`` describes. Raises InventoryError where it is wrong."""

    def __init__(self, path: Path, environment: Environment) -> None:
        self.environment = environment
        self.file = CloudFile(path, environment.load)
        name = self.file.cloud.name
        self.feed = SnapshotFeed(name)
        self.parts = TaskSupervisor(environment.say)
        # Each in use has its own: no reader waits for a writer's connection.
        self.journal = Store(journal_url(), busy=BUSY)
        self.reading = WatchStore(journal_url(), name, busy=BUSY)
        self.approvals = Approvals(WatchStore(journal_url(), name, busy=BUSY))
        self._lead: Lead | None = None
        self._incident_log: IncidentLog | None = None
        self._lock_problem: str | None = None
        self._asked_leader = 0.0
        self._leader = ""

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        raise_file_limit()
        work = asyncio.ensure_future(self._run())
        loop = asyncio.get_running_loop()

        def end() -> None:
            notify("STOPPING=1")
            work.cancel()
            # Everything that matters is written already: nothing is worth waiting for.
            loop.call_later(END, os._exit, 0)

        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, end)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def _run(self) -> None:
        notify("READY=1")
        await first_of(
            self._live(),
            self.file.run(),
            self.parts.keep("page", self._page, longest=_PAGE_LONGEST),
            self.parts.keep("leading", self._contend),
        )

    async def _live(self) -> None:
        """Tell systemd that the event loop turns."""
        while True:
            notify("WATCHDOG=1")
            await asyncio.sleep(sign_of_life_every() or 3600)

    async def _page(self) -> None:
        """Serve the page, anew with each new cloud.yaml."""
        while True:
            cloud = self.file.cloud
            app = make_app(
                feed=self.feed,
                store=self.reading,
                journal=self.journal,
                cloud=cloud,
                approve=self.approvals.by_page,
            )
            await first_of(serve(app, cloud.watch.page), self.file.another(cloud))

    async def _contend(self) -> None:
        """Stand by until this process leads; lead until that is lost; forever."""
        while True:
            name = f"watch/{self.feed.snapshot.cloud}"
            async with lead(locks_url(), name, waits=self._stands_by) as mine:
                self._lead, self._lock_problem = mine, ""
                notify("STATUS=leading")
                self.environment.say(f"{me()} leads the watch of {self.file.cloud.name}")
                try:
                    await first_of(self._keep_the_lead(mine), self._leads())
                except LockLost as error:
                    self.environment.say(f"{error}; standing by")
                finally:
                    self._lead = self._incident_log = None
            await asyncio.sleep(RETRY)  # whoever has taken it over is to be let have it

    async def _keep_the_lead(self, mine: Lead) -> None:
        while True:
            await mine.check()
            if mine.doubt and self._incident_log is not None and not self._incident_log.writable:
                raise LockLost(
                    "leading the watch",
                    came_back=f"{mine.doubt}, and the journal cannot confirm the leader",
                    remedy="make one of them reachable",
                )
            await asyncio.sleep(PAUSE)

    async def _stands_by(self, why: str) -> None:
        """Show that another leads, or why none can."""
        if why != self._lock_problem:
            self._lock_problem = why
            self.environment.say(f"standing by: {why or 'another process leads'}")
        notify("STATUS=standing by")
        now = time.monotonic()
        if now - self._asked_leader > RETRY:
            self._asked_leader = now
            with contextlib.suppress(BackstayError, TimeoutError):
                self._leader = await on_thread(self.reading.leader, RETRY)
        await self.feed.publish(
            Snapshot(
                at=time.time(),
                cloud=self.file.cloud.name,
                leading=False,
                leader=self._leader,
                problems=tuple(self._problems()),
            )
        )

    def _problems(self) -> Sequence[str]:
        """Return the watch's own problems, without those of the incident log and the notifier."""
        found = [self.file.trouble, self._lock_problem, *self.parts.problems]
        if self._lead is not None and self._lead.doubt:
            found.append(f"{self._lead.doubt}: no action is taken until it is")
        return [one for one in found if one]

    async def _leads(self) -> None:
        """Watch, notify and act, anew with each new cloud.yaml, until another takes over."""
        while True:
            cloud = self.file.cloud
            store = WatchStore(journal_url(), cloud.name, busy=BUSY)
            spare = WatchStore(_spare(cloud.name), cloud.name, busy=BUSY)
            incident_log = IncidentLog(
                store,
                channels=partial(channels_for, cloud.watch),
                keep=cloud.watch.keep,
                spare=spare,
            )
            await incident_log.start()
            self._incident_log = incident_log
            try:
                async with HostShell(connect_bound=cloud.bounds.connect_seconds) as shell:
                    site = CloudSession(
                        cloud=cloud,
                        shell=shell,
                        api=self.environment.api(cloud),
                        probe_api=self.environment.probe_api(cloud),
                        sources=self.environment.sources,
                    )
                    await first_of(
                        self._work(site, incident_log),
                        self.file.another(cloud),
                        incident_log.lease_lost.wait(),
                    )
            finally:
                store.close_database()
                spare.close_database()
            if incident_log.lease_lost.is_set():
                raise LockLost(
                    "leading the watch",
                    came_back="another process has taken over in the journal",
                    remedy="backstay watch status",
                )
            self.environment.say(f"{cloud.path} has changed: the new configuration is used")

    async def _work(self, site: CloudSession, incident_log: IncidentLog) -> None:
        cloud, watch = site.cloud, site.cloud.watch
        notifier = Notifier(cloud, incident_log, approval=self.approvals.command)
        actor = Actor(
            site,
            incident_log,
            self.feed,
            self.journal,
            self.approvals,
            doubt=lambda: self._lead.doubt if self._lead else "another process may lead",
            launcher=RunLauncher(command=self.environment.command),
        )

        def problems() -> Sequence[str]:
            return [*self._problems(), *notifier.problems]

        async def watching() -> None:
            one = WatchLoop(
                site,
                watch,
                incident_log,
                self.feed,
                self.journal,
                leader=me(),
                problems=problems,
                on_incident=actor.considered,
            )
            await first_of(one.run(), self._stuck())

        await first_of(
            self.parts.keep("incident log", incident_log.run),
            self.parts.keep("notifier", notifier.run),
            self.parts.keep("watching", watching),
            self.parts.keep("actor", actor.run),
            EventLog(incident_log, self.feed, self.environment.say).run(),
        )

    async def _stuck(self) -> None:
        """Wait until no snapshot has come for long. Raises BackstayError."""
        changes = self.feed.changes(bound=STALE)
        seen = await anext(changes)
        while (newer := await anext(changes)) is not seen:
            seen = newer
        raise BackstayError(
            "watching",
            came_back=f"no snapshot for {STALE:g} s",
            remedy="it is restarted; report it if that happens again",
        )


def _spare(cloud: str) -> str:
    """Return the database that stands in for the journal: on this machine's memory disk.

    Each journal has its own: what one has not got yet belongs into no other.
    """
    journal = zlib.crc32(journal_url().encode())
    return f"sqlite:///{runtime_folder() / f'watch-{cloud}-{journal:08x}.db'}"


_LOG_PAUSE = 0.5


class EventLog:
    """Follows the incident log and the feed of snapshots, and logs what is new in them."""

    def __init__(
        self, incident_log: IncidentLog, feed: SnapshotFeed, say: Callable[[str], None]
    ) -> None:
        self._incident_log = incident_log
        self._feed = feed
        self._say = say
        self._known = {it.id: it for it in incident_log.open_incidents()}
        self._problems: tuple[str, ...] = ()

    async def run(self) -> None:
        """Follow forever."""
        for one in self._known.values():
            self._say(f"{one.name} is open: {one.cause.title}")
        while True:
            self._look()
            await asyncio.sleep(_LOG_PAUSE)

    def _look(self) -> None:
        now = {it.id: it for it in self._incident_log.open_incidents()}
        for number, one in now.items():
            known = len(self._known[number].timeline) if number in self._known else 0
            for line in one.timeline[known:]:
                self._say(f"{one.name} {line.kind}: {line.text}")
        for number, one in self._known.items():
            if number not in now:
                self._say(f"{one.name} is resolved: {one.cause.title}")
        problems = self._feed.snapshot.problems
        for trouble in problems:
            if trouble not in self._problems:
                self._say(f"problem: {trouble}")
        self._known, self._problems = now, problems
