"""The watch finds what is broken: in time, with its cause, and once."""

import asyncio
import datetime
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from backstay.cli.check import open_api
from backstay.inventory.load import load
from backstay.journal.store import Store
from backstay.lab import state
from backstay.lab.faults import record as book
from backstay.lab.faults.breaking import FAULTS, heal
from backstay.lab.hosts import LabHost
from backstay.monitor.incident import Incident, Kind, Urgency
from backstay.monitor.standing import Board, State
from backstay.monitor.topology import AGENT
from backstay.monitor.watching import Watching
from backstay.runbooks.site import Site
from backstay.transports.ssh import HostShell
from tests.acceptance.conftest import Lab
from tests.acceptance.watched import MemoryLedger

pytestmark = pytest.mark.lab

NAME = os.environ.get("BACKSTAY_LAB", "lab")
READY = 90.0
OVER = 420.0
LOADED_MINUTES = float(os.environ.get("BACKSTAY_LOADED_MINUTES", "3"))


@dataclass
class Scene:
    """A watch at work on the lab."""

    watching: Watching
    ledger: MemoryLedger
    board: Board

    async def breaks(
        self, fault: str, target: str, options: Mapping[str, str] | None = None
    ) -> float:
        """Make a fault; return the time just before it was made."""
        return await asyncio.to_thread(_broken, fault, target, options or {})

    async def heals(self) -> None:
        """Undo all faults."""
        for healed in await asyncio.to_thread(lambda: list(heal(state.opened(NAME).lab))):
            assert healed.error is None, healed.error

    async def first(self, bound: float) -> tuple[float, Incident]:
        """The first incident, with the time at which it was there to be told."""
        await self.until(lambda: bool(self.ledger.told), "an incident", bound)
        at, word, incident = self.ledger.told[0]
        assert word == "opened"
        return at, incident

    async def until(self, holds: Callable[[], bool], what: str, bound: float) -> None:
        """Wait until something holds; the watch changes it."""
        end = time.monotonic() + bound
        while not holds():
            assert time.monotonic() < end, f"not within {bound:g} s: {what}: {self.said()}"
            await asyncio.sleep(0.05)

    async def all_well(self, bound: float = READY) -> None:
        """Wait until everything that is watched is up, agents among it."""

        def well() -> bool:
            standings = self.board.bulletin.standings.values()
            agents = any(one.subject.service == AGENT for one in standings)
            return agents and all(one.state is State.UP for one in standings)

        await self.until(well, "all is up", bound)

    async def over(self) -> Incident:
        """The one incident, closed."""
        await self.until(lambda: not self.ledger.open_incidents(), "it is over", OVER)
        await self.all_well(OVER)
        assert len(self.ledger.incidents) == 1, self.said()
        return self.ledger.incidents[1]

    def said(self) -> str:
        """All incidents and what is not up, for a failure's message."""
        lines = [f"{word} {one.name} {one.cause.kind} {one.cause.title} {one.cause.evidence}"
                 for _, word, one in self.ledger.told]  # fmt: skip
        odd = [f"{key}: {one.state}: {one.evidence}"
               for key, one in self.board.bulletin.standings.items()
               if one.state is not State.UP]  # fmt: skip
        return "\n".join([*lines, *odd, *self.board.bulletin.troubles])


def _broken(fault: str, target: str, options: Mapping[str, str]) -> float:
    lab = state.opened(NAME).lab
    kind = FAULTS[fault]
    record = kind.prepare(lab, target, options)
    host = LabHost(lab, record.host)
    book.add(lab, record)
    at = time.time()
    kind.make(host, record)
    return at


def ended_at(lab: Lab, target: str) -> float:
    """When a unit's process ended, by systemd."""
    host, _, unit = target.partition("/")
    shown = lab.shell(
        host, f"systemctl show --timestamp=us+utc --value -p ExecMainExitTimestamp {unit}"
    )
    day, at = shown.split()[1:3]
    return datetime.datetime.fromisoformat(f"{day}T{at}+00:00").timestamp()


def watched(lab: Lab, story: Callable[[Scene], Awaitable[None]]) -> None:
    """Tell a story while the watch is at work."""
    cloud = load(lab.cloud_file)
    journal = f"sqlite:///{tempfile.mkdtemp(prefix='backstay-watch-')}/journal.db"

    async def told() -> None:
        async with HostShell(connect_bound=cloud.bounds.connect_seconds) as shell:
            site = Site(cloud=cloud, shell=shell, api=open_api(cloud))
            ledger, board = MemoryLedger(), Board(cloud.name)

            async def acted(_incident: Incident) -> None:
                return

            watching = Watching(
                site, cloud.watch, ledger, board, Store(journal), leader="story",
                troubles=lambda: (), on_incident=acted,
            )  # fmt: skip
            scene = Scene(watching, ledger, board)
            running = asyncio.ensure_future(watching.run())
            try:
                await scene.all_well()
                await story(scene)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                print(scene.said())

    asyncio.run(told())


@dataclass(frozen=True)
class Case:
    fault: str
    target: str
    kind: Kind
    key: str
    bound: float
    says: str
    options: Mapping[str, str] | None = None


COMPUTE = "compute1"
CASES = (
    Case("power-off", "controller", Kind.HOST_OFF, "host:controller", 5, "no power"),
    Case("hang-service", "controller/nova-api", Kind.SERVICE_HUNG, "service:controller/nova", 5,
         "hangs: nova-api"),
    Case("kill-service", "controller/mariadb", Kind.SERVICE_FAILED, "service:controller/mariadb", 5,
         "MariaDB on controller has failed"),
    Case("hang-service", "controller/mariadb", Kind.SERVICE_HUNG, "service:controller/mariadb", 5,
         "MariaDB on controller hangs"),
    Case("kill-service", "controller/rabbitmq-server", Kind.SERVICE_FAILED,
         "service:controller/rabbitmq", 5, "RabbitMQ on controller has failed"),
    Case("stop-service", "proxy/swift-proxy", Kind.SERVICE_FAILED, "service:proxy/swift", 5,
         "swift-proxy"),
    Case("wedge-agent", COMPUTE, Kind.AGENT_DEAF, f"agents:{COMPUTE}", 15, "takes no work",
         {"how": "deaf"}),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.fault}-{case.target}")
def test_a_fault_is_one_incident_in_time(lab: Lab, case: Case) -> None:
    async def story(scene: Scene) -> None:
        broken = await scene.breaks(case.fault, case.target, case.options)
        at, incident = await scene.first(case.bound + 15)
        if case.fault == "kill-service":  # masking it first takes systemd its time
            broken = max(broken, await asyncio.to_thread(ended_at, lab, case.target))
        print(f"FOUND {case.fault} {case.target} after {at - broken:.2f} s")
        assert incident.cause.kind is case.kind, scene.said()
        assert incident.cause.key == case.key
        assert incident.cause.urgency is Urgency.CRITICAL
        assert case.says in incident.cause.title
        assert at - broken <= case.bound
        await asyncio.sleep(25)  # for what could be taken for another cause meanwhile
        assert len(scene.ledger.incidents) == 1, scene.said()
        await scene.heals()
        over = await scene.over()
        assert over.cause.kind is case.kind

    watched(lab, story)


def test_the_operators_own_network_is_not_a_dead_controller(lab: Lab) -> None:
    async def story(scene: Scene) -> None:
        await scene.breaks("cut-network", "controller", {"from": "operator"})
        _, incident = await scene.first(20)
        assert incident.cause.kind is Kind.CUT_OFF_HERE, scene.said()
        assert "only we are cut off" in incident.cause.title
        await asyncio.sleep(20)
        assert len(scene.ledger.incidents) == 1, scene.said()
        await scene.heals()
        await scene.over()

    watched(lab, story)


def test_cut_off_from_all_hosts_it_says_so(lab: Lab) -> None:
    async def story(scene: Scene) -> None:
        for host in lab.hosts:
            await scene.breaks("cut-network", host, {"from": "operator"})
        await scene.until(lambda: bool(scene.ledger.told), "an incident", 25)
        await asyncio.sleep(20)
        kinds = {one.cause.kind for one in scene.ledger.incidents.values()}
        assert kinds == {Kind.CUT_OFF_HERE}, scene.said()
        assert len(scene.ledger.incidents) == 1, scene.said()
        await scene.heals()
        await scene.over()

    watched(lab, story)


def test_a_restart_by_hand_is_no_incident(lab: Lab) -> None:
    async def story(scene: Scene) -> None:
        for unit in ("nova-api", "mariadb"):
            await asyncio.to_thread(lab.shell, "controller", f"systemctl restart {unit}")
            await asyncio.sleep(20)
            assert not scene.ledger.told, scene.said()
        await scene.all_well()

    watched(lab, story)


def test_load_and_lost_packets_are_no_incident(lab: Lab) -> None:
    async def story(scene: Scene) -> None:
        await scene.breaks("loss", "controller", {"percent": "2"})
        with busy(2):
            await asyncio.sleep(LOADED_MINUTES * 60)
        assert not scene.ledger.told, scene.said()
        await scene.heals()

    watched(lab, story)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep processors busy."""
    loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
