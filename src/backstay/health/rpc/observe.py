"""Read the evidence about agents: their APIs, the broker, their hosts, and a call to each."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backstay.access.session import CloudSession
from backstay.errors import HostError
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
from backstay.inventory.enums import Role
from backstay.inventory.host_names import HostNames
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


async def observe_agents(
    site: CloudSession, hosts: Collection[str] | None = None
) -> AgentsObservation:
    """Return the evidence about every agent that the APIs report, or about those on ``hosts``.

    First each is called; the kernels' state of the connections is read after that. Raises ApiError
    where an API does not list its agents.
    """
    brokers = [service.broker for service in site.services if service.broker]
    endpoints = {w.binary: (s.name, w) for s in site.services for w in s.rpc_endpoints}
    agents = [agent for agent in await site.agents() if agent.binary in endpoints]
    if hosts is not None:
        # One that goes by another name than its host's is found after its host was asked.
        names = site.cloud.host_names()
        agents = [one for one in agents if names.host_of(one.host) in {None, *hosts}]
    pings = await _ping(site, [(agent, endpoints[agent.binary][1]) for agent in agents])
    ports = frozenset(port for broker in brokers for port in broker.ports)
    messaging, stalled, asked = await asyncio.gather(
        _ask_broker(site, brokers),
        _stalled(site, brokers),
        _ask_hosts(site, [rpc_endpoint for _, rpc_endpoint in endpoints.values()], ports, hosts),
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
    return AgentSeen(
        service=service,
        agent=agent,
        rpc_endpoint=rpc_endpoint,
        host=host,
        age=age,
        unit=unit,
        ping=None if isinstance(ping, str) else ping,
        missing=tuple(missing),
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


async def _ask_hosts(
    site: CloudSession,
    endpoints: Sequence[RpcEndpoint],
    ports: frozenset[int],
    hosts: Collection[str] | None,
) -> _Hosts:
    """Read the agents' units on every host but spares."""
    chosen = [
        host
        for host in site.cloud.hosts.values()
        if set(host.roles) - {Role.SPARE} and (hosts is None or host.name in hosts)
    ]
    question = [(rpc_endpoint.unit, rpc_endpoint.log) for rpc_endpoint in endpoints]
    others = (
        {rpc_endpoint.reports_via for rpc_endpoint in endpoints}
        - {""}
        - {rpc_endpoint.unit for rpc_endpoint in endpoints}
    )
    question += [(unit, "") for unit in sorted(others)]

    async def ask(host: str) -> AgentsAnswer | HostError:
        try:
            return await site.ask(
                host, onhost.read_agents, question, sorted(ports), returns=AgentsAnswer
            )
        except HostError as error:
            return error

    answers = await asyncio.gather(*(ask(host.name) for host in chosen))
    names, units, silent = site.cloud.host_names(), {}, {}
    for host, answer in zip(chosen, answers, strict=True):
        if isinstance(answer, HostError):
            silent[host.name] = f"{answer.attempted}: {answer.came_back}"
        else:
            names.claim(host.name, answer.hostname)
            units[host.name] = {name: read_unit(unit, ports) for name, unit in answer.units.items()}
    return _Hosts(names=names, units=units, silent=silent)
