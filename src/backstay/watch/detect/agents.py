"""Whether agents process RPC messages: from the broker every few seconds, by a call if in doubt."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import ApiError
from backstay.health.judge_agents import RpcTopology
from backstay.health.rpc.agents import diagnose_agents
from backstay.health.rpc.diagnosis import NO_WAY, AgentDiagnosis, Signature
from backstay.services.declaration import Agent, Broker
from backstay.services.messaging import REPLIES, Messaging, RpcEndpoint
from backstay.watch.detect.agent_calls import AgentCalls, CallLog
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from backstay.watch.detect.topology import AGENT

AGAIN = 10.0
"""Seconds between two calls to an agent that did not process the last one."""
CALL_BOUND = 60.0
CALL_ALL = 600.0
"""Seconds between two calls to all: an agent that may not be pinged writes each into its log."""
_DEAF = {Signature.DEAF, Signature.HALF_OPEN, Signature.FROZEN}


class AgentProbes:
    """Lists the agents and probes them. ``trouble`` is why that is not possible, "" if it is.

    ``steady`` says whether a unit on a host has been running for so long that it had the time to
    connect: what the broker says twice of such an agent needs no call. Nor does it of one that
    takes from a queue which nothing reaches, which no agent does while it starts.

    ``units`` are the subjects' keys of the units that are agents: where one ends, those on its host
    are called.
    """

    def __init__(
        self,
        site: CloudSession,
        take: Callable[[ProbeResult], None],
        steady: Callable[[str, str], bool] = lambda _host, _unit: False,
        units: Collection[str] = (),
    ) -> None:
        self.site = site
        self.take = take
        self.steady = steady
        self.units = frozenset(units)
        self.trouble = ""
        self.agents: tuple[Agent, ...] = ()
        self._called_bad: dict[str, str] = {}
        self._no_way: set[str] = set()
        self._troubled: dict[str, str] = {}
        self._doubtful: set[str] = set()
        self._ended: set[str] = set()
        self._log = CallLog()
        self._wake = asyncio.Event()
        self._called_all = float("-inf")
        self._replies: Counter[str] = Counter()
        self._brokers: list[Broker] = [s.broker for s in site.services if s.broker]
        self._wirings: dict[str, RpcEndpoint] = {
            w.binary: w for s in site.services for w in s.rpc_endpoints
        }
        self._names = site.cloud.host_names()

    @property
    def calls(self) -> AgentCalls:
        """Return which hosts' agents are being called, and which calls are over."""
        return self._log.shown(self._doubtful)

    async def keep_list(self) -> None:
        """Keep the list of agents, and call all of them, forever."""
        while True:
            try:
                self.agents = tuple(await self.site.agents())
                self.trouble = ""
            except ApiError as error:
                self.trouble = f"{error.attempted}: {error.came_back}"
            if not self.trouble and time.monotonic() - self._called_all >= CALL_ALL:
                self._called_all = time.monotonic()
                await self._call(None)
            await asyncio.sleep(5.0 if self.trouble else self.site.cloud.watch.check)

    async def call_doubtful(self) -> None:
        """Call the agents that the broker reports problems of, and those that failed a call."""
        while True:
            try:
                async with asyncio.timeout(AGAIN):
                    await self._wake.wait()
            except TimeoutError:
                self._doubtful |= set(self._called_bad.values())
            self._wake.clear()
            hosts, self._doubtful = self._doubtful, set()
            if hosts:
                await self._call(hosts)

    def saw_units(self, results: Iterable[ProbeResult]) -> None:
        """Take the signs of units: once for each agent's that ends, its host's agents are called.

        An agent that ends may have no way to its broker, and only a call tries a login.
        """
        for result in results:
            key = result.subject.key
            if key not in self.units or not self._brokers:
                continue
            if result.good:
                self._ended.discard(key)
            elif result.bad and result.outcome is not Outcome.LATE and key not in self._ended:
                self._ended.add(key)
                self._doubtful.add(result.subject.host)
                self._wake.set()

    def polled(self, answer: Any) -> None:  # noqa: ANN401 - of the broker's own type
        """Take an answer of the broker's, of the type that its declaration says."""
        if not self._brokers:
            return
        messaging = self._brokers[0].read(answer)
        if not self._tells(messaging):
            return
        at, reconnect = time.time(), self.site.cloud.maintenance.reconnect
        rpc_topology = RpcTopology(
            messaging=messaging, rpc_endpoint=tuple(self._wirings.values()), reconnect=reconnect
        )
        for agent in self.agents:
            host = self._host(agent)
            if host is not None and agent.in_service and agent.binary in self._wirings:
                self._judge_polled(agent, host, rpc_topology, at)
        if fewer := self._fewer_replies(messaging):
            self._doubtful |= fewer
            self._wake.set()

    def _fewer_replies(self, messaging: Messaging) -> set[str]:
        """Return the hosts from which fewer queues for answers are taken from than before.

        An agent whose own calls bring no answers any more has lost one; only a call shows whose.
        """
        host_of = {
            peer[0]: host
            for agent in self.agents
            if agent.binary in self._wirings and (host := self._host(agent)) is not None
            for peer in messaging.consumers_of.get(
                self._wirings[agent.binary].queue(agent.rpc_target), ()
            )
        }
        before, self._replies = (
            self._replies,
            Counter(peer[0] for queue, peer in messaging.consumers if queue.startswith(REPLIES)),
        )
        return {
            host for address, host in host_of.items() if self._replies[address] < before[address]
        }

    def _tells(self, messaging: Messaging) -> bool:
        """Return whether the broker's report counts: not just after it came back."""
        if messaging.trouble or messaging.refused or messaging.up is None:
            return False
        return messaging.up >= self.site.cloud.maintenance.reconnect

    def _judge_polled(self, agent: Agent, host: str, rpc_topology: RpcTopology, at: float) -> None:
        subject = subject_of(agent, host)
        trouble = rpc_topology.trouble(agent)
        if trouble and subject.key in self._no_way:
            return  # that follows from what a call has found
        if trouble:
            evidence = f"{agent.binary} on {host}: {trouble}"
            sure = self._troubled.get(subject.key) == trouble and (
                rpc_topology.takes(agent) or self.steady(host, self._wirings[agent.binary].unit)
            )
            self._troubled[subject.key] = trouble
            self.take(
                ProbeResult(
                    subject=subject, outcome=Outcome.LATE, evidence=evidence, at=at, sure=sure
                )
            )
            if subject.key not in self._called_bad:
                self._doubtful.add(host)
                self._wake.set()
            return
        self._troubled.pop(subject.key, None)
        if subject.key not in self._called_bad:  # what a call has found, a call must clear
            evidence = "queue bound, consumer present"
            self.take(ProbeResult(subject=subject, outcome=Outcome.OK, evidence=evidence, at=at))

    async def _call(self, hosts: set[str] | None) -> None:
        """Call the agents on ``hosts``, or all, and take what is found: all of it at once."""
        with self._log.call(self.site.cloud.hosts if hosts is None else hosts, time.time()):
            await self._call_and_judge(hosts)

    async def _call_and_judge(self, hosts: set[str] | None) -> None:
        try:
            async with asyncio.timeout(CALL_BOUND):
                _, judged = await diagnose_agents(self.site, hosts)
        except TimeoutError:
            self.trouble = f"calling the agents did not finish within {CALL_BOUND:g} s"
            return
        except ApiError as error:
            self.trouble = f"{error.attempted}: {error.came_back}"
            return
        for one in judged:
            if one.seen.host is not None and one.seen.agent.in_service:
                self._judged(one, one.seen.host, time.time())

    def _judged(self, judged: AgentDiagnosis, host: str, at: float) -> None:
        subject = subject_of(judged.seen.agent, host)
        evidence = f"{judged.name}: {judged.signature}: {judged.evidence}"
        self._no_way.discard(subject.key)
        if judged.signature is Signature.ATTACHED:
            self._called_bad.pop(subject.key, None)
            self.take(
                ProbeResult(subject=subject, outcome=Outcome.OK, evidence=judged.evidence, at=at)
            )
        elif judged.signature in _DEAF or judged.signature is Signature.DOWN:
            outcome = Outcome.FAILED if judged.signature is Signature.DOWN else Outcome.LATE
            self._called_bad[subject.key] = host
            self.take(
                ProbeResult(subject=subject, outcome=outcome, evidence=evidence, at=at, sure=True)
            )
        elif judged.signature in NO_WAY:
            self._called_bad[subject.key] = host
            self._no_way.add(subject.key)
            self.take(
                ProbeResult(
                    subject=subject,
                    outcome=Outcome.NO_WAY,
                    evidence=judged.evidence,
                    at=at,
                    sure=True,
                )
            )
        else:
            self.take(
                ProbeResult(subject=subject, outcome=Outcome.UNKNOWN, evidence=evidence, at=at)
            )

    def _host(self, agent: Agent) -> str | None:
        return self._names.host_of(agent.host)


def subject_of(agent: Agent, host: str) -> Subject:
    """Return the subject that an agent on a host is."""
    return Subject(host=host, service=AGENT, name=agent.binary)
