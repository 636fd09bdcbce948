"""Read the evidence about agents: their APIs, the broker, their hosts, and a call to each."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backstay.access.session import CloudSession
from backstay.errors import HostError
from backstay.health.remedy import filled
from backstay.health.rpc import onhost
from backstay.health.rpc.evidence import (
    REPEATS,
    AgentsAnswer,
    AgentSeen,
    AgentsObservation,
    Ping,
    PingAnswer,
    SocketAnswer,
    UnitSeen,
    read_unit,
)
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.inventory.host_names import HostNames
from backstay.jsondata import Json
from backstay.services.broker_way import BrokenLink, WayAnswer, broken_link
from backstay.services.declaration import Agent, Broker
from backstay.services.messaging import Messaging, Peer, RpcEndpoint

PING_BOUND = 6.0
"""Seconds that an agent may take to answer a call; a healthy one takes some hundredths."""

CALLS = 3 * onhost.AT_ONCE
"""Calls in one question to a controller: also if none is answered they end within its bound."""
PARTS = 4
"""How many such questions are asked at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hosts:
    """The hosts' answers: their names, units by host, and why some did not answer."""

    names: HostNames
    units: Mapping[str, Mapping[str, UnitSeen]]
    silent: Mapping[str, str]
    cloud: Cloud

    def broken(self, host: str, way: WayAnswer) -> BrokenLink | None:
        """Return what of the way from a host to its broker is broken, in the cloud's own names."""
        found = broken_link(way, host, lambda one: self.names.host_of(one) or "")
        if found is None:
            return None
        target = self.cloud.ssh_target(self.cloud.hosts[host])
        return replace(found, remedy=filled(found.remedy, target))


async def observe_agents(
    site: CloudSession, hosts: Collection[str] | None = None
) -> AgentsObservation:
    """Return the evidence about every agent that the APIs report, or about those on ``hosts``.

    Each is called, and at the same time each host reads its units and tries their way to the
    broker. Hosts with an agent that did not answer are read again: the call shows in the kernels'
    state of the connections. Raises ApiError where an API does not list its agents.
    """
    brokers = [service.broker for service in site.services if service.broker]
    endpoints = {w.binary: (s.name, w) for s in site.services for w in s.rpc_endpoints}
    agents = [agent for agent in await site.agents() if agent.binary in endpoints]
    if hosts is not None:
        # One that goes by another name than its host's is found after its host was asked.
        names = site.cloud.host_names()
        agents = [one for one in agents if names.host_of(one.host) in {None, *hosts}]
    ports = frozenset(port for broker in brokers for port in broker.ports)
    reader = _HostReader(site, [endpoint for _, endpoint in endpoints.values()], ports)
    pings, asked = await asyncio.gather(
        _ping(site, [(agent, endpoints[agent.binary][1]) for agent in agents]),
        reader.read(hosts),
    )
    messaging, stalled, asked = await asyncio.gather(
        _ask_broker(site, brokers),
        _stalled(site, brokers),
        reader.read_again(asked, _doubtful(agents, pings, asked)),
    )
    seen = [
        _seen(*endpoints[agent.binary], agent, pings[_key(agent)], (messaging.clock, asked))
        for agent in agents
    ]
    if hosts is not None:
        seen = [one for one in seen if one.host in hosts]
    controllers = [host.name for host in site.cloud.with_role(Role.CONTROLLER)]
    return AgentsObservation(
        broker=messaging,
        writers={
            unit: tuple(
                asked.units[host][unit] for host in controllers if unit in asked.units.get(host, {})
            )
            for unit in {rpc_endpoint.reports_via for _, rpc_endpoint in endpoints.values()} - {""}
        },
        agents=tuple(replace(one, stalled=_of(one.unit, stalled)) for one in seen),
    )


def _key(agent: Agent) -> tuple[str, str]:
    return (agent.binary, agent.rpc_target)


def _of(unit: UnitSeen | None, stalled: frozenset[Peer]) -> frozenset[Peer]:
    return frozenset(one.local for one in unit.sockets) & stalled if unit else frozenset()


def _seen(
    service: str,
    rpc_endpoint: RpcEndpoint,
    agent: Agent,
    ping: Ping | str,
    context: tuple[float, _Hosts],
) -> AgentSeen:
    now, asked = context
    host = asked.names.host_of(agent.host)
    unit = asked.units.get(host, {}).get(rpc_endpoint.unit) if host else None
    missing = []
    if isinstance(ping, str) and rpc_endpoint.topic:
        missing.append(ping)
    if host is None:
        missing.append(f"cloud.yaml has no host {agent.host}")
    elif host in asked.silent:
        missing.append(asked.silent[host])
    elif unit is None:
        missing.append(f"{host} has no unit {rpc_endpoint.unit}")
    age = now - agent.heartbeat.timestamp() if agent.heartbeat and now else None
    way = unit.way if unit is not None else None
    return AgentSeen(
        service=service,
        agent=agent,
        rpc_endpoint=rpc_endpoint,
        host=host,
        age=age,
        unit=unit,
        ping=None if isinstance(ping, str) else ping,
        missing=tuple(missing),
        broken=asked.broken(host, way) if host is not None and way is not None else None,
    )


async def _ask_broker(site: CloudSession, brokers: Sequence[Broker]) -> Messaging:
    """Ask the first host of the broker's that answers."""
    trouble = "cloud.yaml has no host with the message broker"
    for broker in brokers:
        for host in site.cloud.with_role(broker.role):
            try:
                answer = await site.ask(host.name, broker.ask, returns=broker.returns)
                return broker.read(answer)
            except HostError as error:
                trouble = f"{error.attempted}: {error.came_back}"
    return Messaging(trouble=trouble)


async def _stalled(site: CloudSession, brokers: Sequence[Broker]) -> frozenset[Peer]:
    """Return the clients to which the broker's hosts retransmit without success."""
    found: set[Peer] = set()
    for broker in brokers:
        for host in site.cloud.with_role(broker.role):
            try:
                answers = await site.ask(
                    host.name,
                    onhost.broker_sockets,
                    list(broker.ports),
                    returns=tuple[SocketAnswer, ...],
                )
            except HostError:
                continue
            found |= {
                (peer, port) for _, _, peer, port, _, repeats in answers if repeats >= REPEATS
            }
    return frozenset(found)


async def _ping(
    site: CloudSession, agents: Iterable[tuple[Agent, RpcEndpoint]]
) -> dict[tuple[str, str], Ping | str]:
    """Call every agent from a controller; return the reason for those that cannot be called."""
    by_config: dict[str, list[tuple[Agent, RpcEndpoint]]] = {}
    found: dict[tuple[str, str], Ping | str] = {}
    for agent, rpc_endpoint in agents:
        if rpc_endpoint.topic:
            by_config.setdefault(rpc_endpoint.config, []).append((agent, rpc_endpoint))
        else:
            found[_key(agent)] = "it receives no calls"
    parts = [
        (config, members[at : at + CALLS])
        for config, members in by_config.items()
        for at in range(0, len(members), CALLS)
    ]
    free = asyncio.Semaphore(PARTS)

    async def call(
        config: str, part: Sequence[tuple[Agent, RpcEndpoint]]
    ) -> dict[tuple[str, str], Ping | str]:
        async with free:
            return await _ping_with(site, config, part)

    answers = await asyncio.gather(*(call(*one) for one in parts))
    return found | {key: ping for answer in answers for key, ping in answer.items()}


async def _ping_with(
    site: CloudSession, config: str, agents: Sequence[tuple[Agent, RpcEndpoint]]
) -> dict[tuple[str, str], Ping | str]:
    targets = [[w.exchange, w.topic, agent.rpc_target] for agent, w in agents]
    trouble = "no call could be made: cloud.yaml has no controller"
    for host in site.cloud.with_role(Role.CONTROLLER):
        try:
            answers = await site.ask(
                host.name,
                onhost.ping,
                config,
                targets,
                PING_BOUND,
                returns=tuple[PingAnswer, ...],
            )
        except HostError as error:
            trouble = f"no call could be made: {error.attempted}: {error.came_back}"
            continue
        if len(answers) != len(targets):
            trouble = (
                f"no call could be made: {host.name} answers {len(answers)} calls of {len(targets)}"
            )
            continue
        return {
            _key(agent): Ping(answered=answered, error=text, seconds=seconds)
            for (agent, _), (answered, text, seconds) in zip(agents, answers, strict=True)
        }
    return {_key(agent): trouble for agent, _ in agents}


def _doubtful(
    agents: Iterable[Agent], pings: Mapping[tuple[str, str], Ping | str], asked: _Hosts
) -> dict[str, list[str]]:
    """Return the units by host that were called and did not answer."""
    found: dict[str, list[str]] = {}
    for agent in agents:
        ping, host = pings[_key(agent)], asked.names.host_of(agent.host)
        if host is None or host not in asked.units:
            continue
        if isinstance(ping, Ping) and not ping.answered:
            found.setdefault(host, []).append(agent.binary)
    return found


@dataclass(frozen=True, slots=True)
class _HostReader:
    """Reads agents' units on their hosts, and tries the ways from there to the broker."""

    site: CloudSession
    endpoints: Sequence[RpcEndpoint]
    ports: frozenset[int]

    async def read(self, hosts: Collection[str] | None) -> _Hosts:
        """Read every host but spares, or ``hosts``. Units without a connection try to log in."""
        chosen = [
            host.name
            for host in self.site.cloud.hosts.values()
            if set(host.roles) - {Role.SPARE} and (hosts is None or host.name in hosts)
        ]
        answers = await asyncio.gather(*(self._ask(host, None) for host in chosen))
        names, units, silent = self.site.cloud.host_names(), {}, {}
        for host, answer in zip(chosen, answers, strict=True):
            if isinstance(answer, HostError):
                silent[host] = f"{answer.attempted}: {answer.came_back}"
            else:
                names.claim(host, answer.hostname)
                units[host] = self._units(answer)
        return _Hosts(names=names, units=units, silent=silent, cloud=self.site.cloud)

    async def read_again(self, asked: _Hosts, doubtful: Mapping[str, Sequence[str]]) -> _Hosts:
        """Read the hosts of units that did not answer; these units log in to the broker.

        Not those whose way is known to be broken. A host that does not answer any more counts as
        it did.
        """
        wanted = {
            host: [name for name in names if not _is_broken(asked.units[host].get(name))]
            for host, names in doubtful.items()
        }
        answers = await asyncio.gather(*(self._ask(host, names) for host, names in wanted.items()))
        units = dict(asked.units)
        for host, answer in zip(wanted, answers, strict=True):
            if not isinstance(answer, HostError):
                units[host] = {
                    name: unit
                    if unit.way is not None
                    else replace(unit, way=_way(asked, host, name))
                    for name, unit in self._units(answer).items()
                }
        return replace(asked, units=units)

    def _units(self, answer: AgentsAnswer) -> dict[str, UnitSeen]:
        return {name: read_unit(unit, self.ports) for name, unit in answer.units.items()}

    async def _ask(self, host: str, log_in: Sequence[str] | None) -> AgentsAnswer | HostError:
        question = [(endpoint.unit, endpoint.log) for endpoint in self.endpoints]
        others = {endpoint.reports_via for endpoint in self.endpoints} - {""}
        others -= {endpoint.unit for endpoint in self.endpoints}
        question += [(unit, "") for unit in sorted(others)]
        ways = {one.unit: config_of(one.config, one.binary) for one in self.endpoints}
        try:
            return await self.site.ask(
                host,
                onhost.read_agents,
                question,
                sorted(self.ports),
                ways,
                None if log_in is None else list(log_in),
                returns=AgentsAnswer,
            )
        except HostError as error:
            return error


def _way(asked: _Hosts, host: str, unit: str) -> WayAnswer | None:
    before = asked.units[host].get(unit)
    return None if before is None else before.way


def _is_broken(unit: UnitSeen | None) -> bool:
    return unit is not None and unit.way is not None and broken_link(unit.way, "") is not None


def config_of(config: str, binary: str) -> list[Json]:
    """Return project, program and files of an agent's configuration, as ``oslo`` wants them. Pure.

    ``/etc/nova/nova.conf`` is the project's; the program's own file lies beside it.
    """
    folder = config.rpartition("/")[0]
    return [folder.rpartition("/")[2], binary, [config, f"{folder}/{binary}.conf"]]
