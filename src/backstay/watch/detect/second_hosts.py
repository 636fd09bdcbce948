"""Whether there is a second host in one place: a fenced host that is on, an address with two MACs.

Both are asked every few seconds, each fenced host by itself: a BMC that hangs keeps nobody waiting.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from backstay.access.session import CloudSession
from backstay.health import addresses, fenced
from backstay.inventory.bmc import Fenced
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject

FENCED, ADDRESS = "fenced-host", "address"
SERVICES = frozenset({FENCED, ADDRESS})
PAUSE = 3.0
"""Seconds between two questions to a BMC, and between two about all addresses."""
A_SECOND = 50.0
"""Addresses that are asked about in a second, at most: each question is a broadcast."""

AskState = Callable[[str, Fenced], Awaitable[tuple[bool | None, str]]]


class SecondHosts:
    """Asks forever and passes results on. ``is_up`` returns whether a host may be a witness."""

    def __init__(
        self,
        session: CloudSession,
        take: Callable[[ProbeResult], None],
        is_up: Callable[[str], bool] = lambda _: True,
        *,
        power: AskState = fenced.read_power,
        here: addresses.AskHere = addresses.ask_here,
    ) -> None:
        self.session = session
        self._take = take
        self._is_up = is_up
        self._power = power
        self._here = here
        self._shared: set[str] = set()

    async def watch_powers(self) -> None:
        """Ask the BMC of every fenced host every few seconds."""
        hosts = self.session.cloud.fenced.items()
        await asyncio.gather(*(self._watch_power(name, host) for name, host in hosts))
        await asyncio.Event().wait()  # none is fenced

    async def watch_addresses(self) -> None:
        """Ask who answers for the hosts' addresses every few seconds."""
        pause = max(PAUSE, len(self.session.cloud.hosts) / A_SECOND)
        while True:
            await self.ask_addresses()
            await asyncio.sleep(pause)

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

    async def ask_addresses(self) -> None:
        """Ask who answers for each address. Only those that two hosts answered for are subjects."""
        cloud = self.session.cloud
        by = [
            name for name in addresses.witnesses(cloud, most=len(cloud.hosts)) if self._is_up(name)
        ]
        found = {
            one.host: one
            for one in await addresses.read_shared(
                self.session, cloud.hosts, here=self._here, by=by[: addresses.WITNESSES]
            )
        }
        self._shared |= set(found)
        for name in self._shared & set(cloud.hosts):
            shared = found.get(name)
            self._take(
                ProbeResult(
                    subject=Subject(host=name, service=ADDRESS, name="owner"),
                    outcome=Outcome.FAILED if shared else Outcome.OK,
                    evidence=shared.evidence if shared else "one host answers for its address",
                    at=time.time(),
                    sure=shared is not None,
                )
            )
