"""Whether there is a second host in one place: a fenced host that is on, an address with two MACs.

Both are asked every few seconds, each fenced host by itself: a BMC that hangs keeps nobody waiting.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from backstay.access.session import CloudSession
from backstay.health import addresses, fenced
from backstay.inventory.bmc import Fenced
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject

FENCED, ADDRESS = "fenced-host", "address"
SERVICES = frozenset({FENCED, ADDRESS})
PAUSE = 3.0
"""Seconds between two questions to a BMC, and between two about all addresses."""
PAUSE_OF_HOSTS = 5.0
"""The same about all addresses where hosts of the cloud must ask: each time by SSH."""
A_SECOND = 50.0
"""Addresses that are asked about in a second, at most: each question is a broadcast."""

AskState = Callable[[str, Fenced], Awaitable[tuple[bool | None, str]]]


class SecondHosts:
    """Asks forever and passes results on. ``is_up`` returns whether a host may be a witness.

    ``known`` returns the hosts of open incidents about a shared address, also of an earlier watch.
    """

    def __init__(
        self,
        session: CloudSession,
        take: Callable[[ProbeResult], None],
        is_up: Callable[[str], bool] = lambda _: True,
        known: Callable[[], Collection[str]] = tuple,
        *,
        power: AskState = fenced.read_power,
        here: addresses.AskHere = addresses.ask_here,
    ) -> None:
        self.session = session
        self._take = take
        self._is_up = is_up
        self._known = known
        self._power = power
        self._here = here
        self._shared: set[str] = set()

    async def watch_powers(self) -> None:
        """Ask the BMC of every fenced host every few seconds."""
        async with asyncio.TaskGroup() as group:  # none goes on alone where another fails
            for name, host in self.session.cloud.fenced.items():
                group.create_task(self._watch_power(name, host))
        await asyncio.Event().wait()  # none is fenced

    async def watch_addresses(self) -> None:
        """Ask who answers for the hosts' addresses every few seconds."""
        while True:
            by_hosts = await self.ask_addresses()
            pause = PAUSE_OF_HOSTS if by_hosts else PAUSE
            await asyncio.sleep(max(pause, len(self.session.cloud.hosts) / A_SECOND))

    async def _watch_power(self, name: str, host: Fenced) -> None:
        if host.bmc is None:
            return
        while True:
            await self.ask_power(name, host)
            await asyncio.sleep(PAUSE)

    async def ask_power(self, name: str, host: Fenced) -> None:
        """Ask one BMC."""
        started = time.monotonic()
        on, trouble = await self._power(name, host)
        if on is None:
            outcome, evidence = Outcome.UNKNOWN, f"its power is not known: {trouble}"
        elif on:
            outcome, evidence = Outcome.FAILED, "its BMC reports that its power is on"
        else:
            outcome, evidence = Outcome.OK, "its BMC reports that its power is off"
        self._take(
            ProbeResult(
                subject=Subject(host=name, service=FENCED, name="power"),
                outcome=outcome,
                evidence=evidence,
                at=time.time(),
                seconds=time.monotonic() - started,
                sure=outcome is Outcome.FAILED,
            )
        )

    async def ask_addresses(self) -> bool:
        """Ask who answers for each address; return whether hosts of the cloud had to ask.

        Only those are subjects that two hosts answered for. One that is not answered for, or that
        nobody could ask about, is unknown: that ends no incident.
        """
        cloud = self.session.cloud
        everyone = addresses.witnesses(cloud, most=len(cloud.hosts))
        by = [name for name in everyone if self._is_up(name)][: addresses.WITNESSES]
        reading = await addresses.read_addresses(self.session, cloud.hosts, here=self._here, by=by)
        found = {shared.host: shared for shared in reading.shared}
        self._shared |= {*found, *self._known()}
        for name in self._shared & set(cloud.hosts):
            self._take(_owner(name, found.get(name), alone=name in reading.alone))
        return reading.by_hosts


def _owner(name: str, shared: addresses.SharedAddress | None, *, alone: bool) -> ProbeResult:
    """Return the probe result for the address of one host."""
    if shared is not None:
        outcome, evidence = Outcome.FAILED, shared.evidence
    elif alone:
        outcome, evidence = Outcome.OK, "one host answers for its address"
    else:
        outcome, evidence = Outcome.UNKNOWN, "it is not known who answers for its address"
    return ProbeResult(
        subject=Subject(host=name, service=ADDRESS, name="owner"),
        outcome=outcome,
        evidence=evidence,
        at=time.time(),
        sure=shared is not None,
    )
