"""Looking at agents, restarting one, and waiting until each answers: for every runbook."""

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

from backstay.access.session import CloudSession
from backstay.errors import ApiError, HostError
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.health.rpc.evidence import AgentsObservation
from backstay.health.rpc.observe import look
from backstay.health.rpc.signatures import after_restart, faulty, judge_all
from backstay.inventory.enums import Role
from backstay.jsondata import Json

SHARE = 0.05
"""The part of all agents that is restarted at a time, where the operator says nothing else."""
JITTER = 2.0
"""Restarts at one time begin within so many seconds of each other, not in the same instant."""
PAUSE = 2.0


async def see(
    site: CloudSession, hosts: Collection[str] | None = None
) -> tuple[AgentsObservation, list[AgentDiagnosis]]:
    """Look at all agents, or those on ``hosts``, and judge them.

    An API that does not tell its agents is asked once more; raises ApiError then. Those on
    the controllers are always looked at: through them the others report.
    """
    controllers = {host.name for host in site.cloud.with_role(Role.CONTROLLER)}
    chosen = None if hosts is None else {*hosts, *controllers}
    try:
        looked = await look(site, chosen)
    except ApiError:
        await asyncio.sleep(PAUSE)
        looked = await look(site, chosen)
    judged = judge_all(looked, reconnect=site.cloud.maintenance.reconnect)
    return looked, [one for one in judged if hosts is None or one.seen.host in hosts]


async def restart(site: CloudSession, judged: AgentDiagnosis) -> str:
    """Begin a restart of an agent's unit; return why it could not, empty where it did."""
    await asyncio.sleep(random.uniform(0, JITTER))  # noqa: S311 - to spread them out
    host, unit = judged.seen.host, judged.seen.rpc_endpoint.unit
    try:
        told = await site.ask(str(host), restart_unit, unit)
    except HostError as error:
        return f"{error.attempted}: {error.came_back}"
    return str(told)


def restart_unit(unit: str) -> Json:
    """Ask systemd for a restart without waiting for its end; return what it says against it.

    Runs on the host. A unit that failed too often is let try again.
    """
    subprocess.run(
        ["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL, timeout=10, check=False
    )
    done = subprocess.run(
        ["systemctl", "restart", "--no-block", unit],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
        check=False,
    )
    return done.stdout.decode(errors="replace").strip() if done.returncode else ""


async def looks(
    site: CloudSession,
    hosts: Collection[str] | None,
    *,
    bound: float,
    silent: Callable[[ApiError], None] = lambda _error: None,
) -> AsyncGenerator[tuple[AgentsObservation, list[AgentDiagnosis], bool], None]:
    """Look again and again for ``bound`` seconds; give what is seen, and whether it is the last.

    ``silent`` is told where an API does not tell its agents; raises ApiError where so at the end.
    """
    ends, last = time.monotonic() + bound, False
    while not last:
        try:
            looked, judged = await see(site, hosts)
        except ApiError as error:
            if time.monotonic() + PAUSE > ends:
                raise
            silent(error)
        else:
            last = time.monotonic() + PAUSE > ends
            yield looked, judged, last
        await asyncio.sleep(PAUSE)


async def until_attached(
    site: CloudSession,
    chosen: Callable[[AgentDiagnosis], bool],
    hosts: Collection[str] | None,
    *,
    bound: float,
    give_up: Callable[
        [AgentsObservation, Sequence[AgentDiagnosis]], bool
    ] = lambda _looked, _left: False,
) -> tuple[list[AgentDiagnosis], float | None]:
    """Wait until the chosen agents are attached; return who is not, and how long the broker is up.

    Ends early where ``give_up`` says so of those that are left.
    """
    async with aclosing(looks(site, hosts, bound=bound)) as seen:
        async for looked, judged, last in seen:
            left = not_attached(judged, chosen)
            if not left or last or give_up(looked, left):
                return left, looked.broker.up
    raise AssertionError("the last look is told to be the last")


def not_attached(
    judged: Sequence[AgentDiagnosis], chosen: Callable[[AgentDiagnosis], bool]
) -> list[AgentDiagnosis]:
    """Return those of the chosen that are not attached."""
    return [one for one in judged if chosen(one) and one.signature is not Signature.ATTACHED]


class AgentReattacher:
    """Brings agents back as part of another runbook: a few at a time, none of them twice.

    ``hosts`` are whose agents are looked at, None all. ``restarted`` are the names of those that
    were; ``broker_up`` is for how many seconds the broker was up at the last look, None unknown.
    """

    def __init__(
        self, site: CloudSession, hosts: Collection[str] | None, *, say: Callable[[str], None]
    ) -> None:
        self.site = site
        self.hosts = hosts
        self.say = say
        self.restarted: list[str] = []
        self.broker_up: float | None = None
        self._waits = ""

    async def until_attached(
        self, chosen: Callable[[AgentDiagnosis], bool], *, bound: float
    ) -> list[AgentDiagnosis]:
        """Wait until the chosen are attached; return who is not after ``bound`` seconds.

        Raises ApiError where an API did not tell its agents up to the end.
        """
        waiting = looks(
            self.site,
            self.hosts,
            bound=bound,
            silent=lambda error: self._wait(f"for an answer: {error}"),
        )
        async with aclosing(waiting) as seen:
            async for looked, judged, last in seen:
                self.broker_up = looked.broker.up
                left = not_attached(judged, chosen)
                if not left or last:
                    return left
                self._wait(f"for {named_agents(left)}")
                await self._restart(left, at_a_time=at_a_time(len(judged)))
        raise AssertionError("the last look is told to be the last")

    def _wait(self, what: str) -> None:
        """Say what is waited for, once."""
        if what != self._waits:
            self.say(f"waiting {what}")
            self._waits = what

    async def _restart(self, left: Sequence[AgentDiagnosis], *, at_a_time: int) -> None:
        """Restart some of the faulty; whoever was restarted before is settling for a while."""
        under_way = [one for one in left if one.name in self.restarted]
        if any(one.signature is Signature.SETTLING for one in under_way):
            return
        batch = [one for one in faulty(left) if one.name not in self.restarted][:at_a_time]
        for one in batch:
            self.say(f"{one.name} is {one.signature.value}: {one.evidence}; restarting it")
        refusals = await asyncio.gather(*(restart(self.site, one) for one in batch))
        for one, why in zip(batch, refusals, strict=True):
            if why:
                self.say(f"{one.name} could not be restarted: {why}")
        self.restarted += [one.name for one in batch]

    def next(self, judged: AgentDiagnosis) -> str:
        """Return what is to be done about an agent that is not attached."""
        if judged.name in self.restarted or not judged.remedy:
            return after_restart(judged)
        return judged.remedy


def at_a_time(count: int) -> int:
    """Return how many of ``count`` agents are restarted at once: one in twenty, at least one."""
    return max(1, int(count * SHARE))


def named_agents(judged: Sequence[AgentDiagnosis], limit: int = 4) -> str:
    """Return agents with their signatures, for a line of progress or an error."""
    words = [f"{one.name} ({one.signature.value})" for one in judged[:limit]]
    more = [f"{len(judged) - limit} more"] if len(judged) > limit else []
    return ", ".join(words + more)
