"""Restart agents, and wait until each of them answers a call: for every runbook."""

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

from backstay.access.lease import HostHeld
from backstay.access.onhost_lease import changes_host
from backstay.access.session import CloudSession
from backstay.answers import Line
from backstay.errors import ApiError, HostError
from backstay.health.rpc.agents import diagnose_agents
from backstay.health.rpc.diagnosis import (
    AgentDiagnosis,
    Signature,
    after_restart,
    faulty,
    name_agents,
    not_attached,
)
from backstay.health.rpc.evidence import AgentsObservation
from backstay.jsondata import Json

SHARE = 0.05
"""The share of all agents that is restarted at once, unless the operator chooses a number."""
JITTER = 2.0
"""Seconds over which the restarts of one batch are spread."""
PAUSE = 2.0
"""Seconds between two observations."""

Chosen = Callable[[AgentDiagnosis], bool]
"""Returns whether an agent is among those that are waited for."""


async def restart_agent(session: CloudSession, diagnosis: AgentDiagnosis) -> str:
    """Start the restart of an agent's unit; return why it was refused, empty if it was not."""
    await asyncio.sleep(random.uniform(0, JITTER))  # noqa: S311 - to spread them out
    host, unit = diagnosis.seen.host, diagnosis.seen.rpc_endpoint.unit
    try:
        return await session.ask(str(host), restart_unit, unit, returns=Line)
    except (HostError, HostHeld) as error:
        return f"{error.attempted}: {error.came_back}"


@changes_host
def restart_unit(unit: str) -> Json:
    """Restart a unit without waiting for its end; return systemd's refusal, empty if none.

    Runs on the host. A unit that failed too often is allowed to start again.
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


async def observations(
    session: CloudSession,
    hosts: Collection[str] | None,
    *,
    bound: float,
    silent: Callable[[ApiError], None] = lambda _error: None,
) -> AsyncGenerator[tuple[AgentsObservation, list[AgentDiagnosis], bool], None]:
    """Observe agents repeatedly for ``bound`` seconds; yield each result, and whether it is last.

    ``silent`` is called where an API does not list its agents. Raises ApiError where that is still
    so at the end.
    """
    ends, last = time.monotonic() + bound, False
    while not last:
        try:
            observed, diagnoses = await diagnose_agents(session, hosts)
        except ApiError as error:
            if time.monotonic() + PAUSE > ends:
                raise
            silent(error)
        else:
            last = time.monotonic() + PAUSE > ends
            yield observed, diagnoses, last
        await asyncio.sleep(PAUSE)


async def until_attached(
    session: CloudSession,
    chosen: Chosen,
    hosts: Collection[str] | None,
    *,
    bound: float,
    give_up: Callable[[Sequence[AgentDiagnosis]], bool] = lambda _left: False,
) -> tuple[list[AgentDiagnosis], float | None]:
    """Wait until the chosen agents are attached, ``bound`` seconds at most.

    Returns those that are not, and the broker's uptime in seconds (None unknown). Ends early where
    ``give_up`` returns True for those that are left.
    """
    async with aclosing(observations(session, hosts, bound=bound)) as seen:
        async for observed, diagnoses, last in seen:
            left = not_attached(diagnoses, chosen)
            if not left or last or give_up(left):
                return left, observed.broker.up
    raise AssertionError("the last observation is marked as the last")


class AgentReattacher:
    """Gets agents attached as part of another runbook: a few at a time, none restarted twice.

    Attributes:
        hosts: names of the hosts whose agents are observed, None for all.
        restarted: names of the agents that were restarted.
        broker_up: the broker's uptime in seconds at the last observation, None unknown.

    """

    def __init__(
        self, session: CloudSession, hosts: Collection[str] | None, *, say: Callable[[str], None]
    ) -> None:
        self.session = session
        self.hosts = hosts
        self.say = say
        self.restarted: list[str] = []
        self.broker_up: float | None = None
        self._waits_for = ""

    async def until_attached(self, chosen: Chosen, *, bound: float) -> list[AgentDiagnosis]:
        """Wait until the chosen agents are attached; return those that are not after ``bound`` s.

        Raises ApiError where an API did not list its agents up to the end.
        """
        waiting = observations(
            self.session,
            self.hosts,
            bound=bound,
            silent=lambda error: self._wait(f"for an answer: {error}"),
        )
        async with aclosing(waiting) as seen:
            async for observed, diagnoses, last in seen:
                self.broker_up = observed.broker.up
                left = not_attached(diagnoses, chosen)
                if not left or last:
                    return left
                self._wait(f"for {name_agents(left)}")
                await self._restart(left, size=batch_size(len(diagnoses)))
        raise AssertionError("the last observation is marked as the last")

    def _wait(self, what: str) -> None:
        """Report what is waited for, once."""
        if what != self._waits_for:
            self.say(f"waiting {what}")
            self._waits_for = what

    async def _restart(self, left: Sequence[AgentDiagnosis], *, size: int) -> None:
        """Restart up to ``size`` faulty agents, once those restarted before have settled."""
        under_way = [one for one in left if one.name in self.restarted]
        if any(one.signature is Signature.SETTLING for one in under_way):
            return
        batch = [one for one in faulty(left) if one.name not in self.restarted][:size]
        for diagnosis in batch:
            what = f"{diagnosis.name} is {diagnosis.signature.value}: {diagnosis.evidence}"
            self.say(f"{what}; restarting it")
        refusals = await asyncio.gather(*(restart_agent(self.session, one) for one in batch))
        for diagnosis, refusal in zip(batch, refusals, strict=True):
            if refusal:
                self.say(f"{diagnosis.name} could not be restarted: {refusal}")
        self.restarted += [one.name for one in batch]

    def remedy(self, diagnosis: AgentDiagnosis) -> str:
        """Return what to do about an agent that is not attached."""
        if diagnosis.name in self.restarted or not diagnosis.remedy:
            return after_restart(diagnosis)
        return diagnosis.remedy


def batch_size(count: int) -> int:
    """Return how many of ``count`` agents are restarted at once: one in twenty, at least one."""
    return max(1, int(count * SHARE))
