"""A run takes its hosts: no two runs work on one host at once, whatever journals they are in.

The first thing that a run sends to a host takes it, in the same round trip (``access.lease``). It
is renewed beside the steps, given up when the run has ended, and taken back where a run is
abandoned.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from backstay.access.lease import Holder, HostHeld, HostLease, carry, places
from backstay.access.onhost_lease import held_by, let_lease_go, release_lease
from backstay.access.session import CloudSession
from backstay.errors import BackstayError, HostError
from backstay.journal.action import Refused, Runbook, Running
from backstay.journal.epochs import me
from backstay.journal.records import Claim, LeaseLost, RunRecord, RunState

RENEWED = 20.0
"""Seconds between two renewals of a host, beside a step that asks it nothing."""
BOUND = 8.0


def leased(runbook: Runbook, run: RunRecord, session: CloudSession) -> Runbook:
    """Return the runbook, with what it sends to the run's hosts under the notes on these."""
    hosts = _Hosts(run, session)

    @asynccontextmanager
    async def around(running: Running) -> AsyncIterator[object]:
        with hosts.taken_for(running):
            async with runbook.around(running) as entered:
                yield entered

    async def look() -> None:
        await runbook.look()
        await hosts.renew()

    async def ended(state: RunState) -> None:
        await runbook.ended(state)
        await hosts.give_up()

    return replace(runbook, around=around, look=look, ended=ended)


def lease_of(claim: Claim, cloud: str, targets: Iterable[str]) -> HostLease:
    """Return what the run of a claim carries to its hosts."""
    return HostLease(
        journal=claim.journal,
        run=claim.run,
        # That of the cloud rises with each of its runs.
        epoch=claim.epochs.get(cloud) or max(claim.epochs.values(), default=0),
        who=me(),
        hosts=frozenset(targets),
    )


@dataclass
class _Hosts:
    """The hosts of one run, as far as this process has taken them."""

    run: RunRecord
    session: CloudSession
    lease: HostLease | None = None
    unchanged: bool = True
    renewed: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def taken_for(self, running: Running) -> Iterator[None]:
        """Take hosts as this step asks them. Raises Refused where nothing is changed yet."""
        if self.lease is None and running.claim is not None:
            plan = self.run.plan
            self.lease = lease_of(running.claim, plan.cloud, plan.targets)
            self.unchanged = not running.results
        carry(self.lease)
        try:
            yield
        except HostHeld as error:
            if self.lease is None or self.lease.taken or not self.unchanged:
                raise
            raise Refused(
                error.attempted, came_back=error.came_back, remedy=error.remedy
            ) from error

    async def renew(self) -> None:
        """Renew what was not asked for a while. Raises LeaseLost where it is another's by now."""
        if self.lease is None:
            return
        carry(self.lease)
        now = time.monotonic()
        due = [
            host
            for host in self.lease.taken & self.lease.hosts
            # A question beside a long one could cost both, where the host is slow.
            if not self.lease.busy[host] and now - self.renewed.setdefault(host, now) > RENEWED
        ]
        for host in due:
            self.renewed[host] = now
        await asyncio.gather(*(self._renew(host) for host in due))

    async def _renew(self, host: str) -> None:
        try:
            await self.session.ask(host, renewed, bound=BOUND, returns=bool)
        except HostError:
            return  # it may be rebooting; nothing is changed there meanwhile
        except HostHeld as error:
            raise LeaseLost(
                error.attempted, came_back=error.came_back, remedy=error.remedy
            ) from error

    async def give_up(self) -> None:
        """Let others have the hosts. One that cannot be asked is free in two minutes."""
        if self.lease is not None:
            carry(None)
            await give_back(self.session, self.lease, sorted(self.lease.taken))


def renewed() -> bool:
    """Return that the note was renewed: this is sent under it."""
    return True


async def give_back(
    session: CloudSession, lease: HostLease, hosts: Iterable[str], *, stop: bool = False
) -> dict[str, str]:
    """Give hosts up for a run; return why not, by host, where that was not possible.

    With ``stop`` what the run has left there as a unit of its own is ended too.
    """
    given = lease.document() | {"stop": stop}

    async def give(host: str) -> str:
        try:
            holder = await session.ask(
                host, let_lease_go, given, returns=Holder, bound=BOUND + 15 * stop
            )
        except BackstayError as error:
            return error.came_back
        return f"{holder.who} has it, for {holder.run}" if holder.who else ""

    known = [host for host in hosts if host in session.cloud.hosts]
    answers = await asyncio.gather(*map(give, known))
    return {host: why for host, why in zip(known, answers, strict=True) if why}


async def holder_of(session: CloudSession, host: str) -> Holder:
    """Return which run has a host; an empty one where none has. Raises HostError."""
    return await session.ask(host, held_by, places(), returns=Holder, bound=BOUND)


async def release(session: CloudSession, host: str) -> Holder:
    """Take a host from whoever has it, who cannot return; return who that was.

    Raises HostError.
    """
    given = {"who": me(), "places": places()}
    return await session.ask(host, release_lease, given, returns=Holder, bound=BOUND)
