"""The evidence about agents: plain values, each with its source and age."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.answers import Count, Line, Seconds
from backstay.services.broker_way import BrokenLink, WayAnswer
from backstay.services.declaration import Agent
from backstay.services.messaging import Messaging, Peer, RpcEndpoint

REPEATS = 3
"""The third retransmission is a second and a half after the first sending: no single loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """An established connection to the broker, as the agent's own kernel has it.

    Attributes:
        local: address and port of the agent's end.
        address: the broker's address.
        unacknowledged: bytes that the broker's end has not acknowledged.
        repeats: how often the kernel has retransmitted the first of them without success.

    """

    local: Peer
    address: str
    unacknowledged: int = 0
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSeen:
    """The agent's unit and process on its host.

    Attributes:
        load: systemd's LoadState.
        active: systemd's ActiveState.
        sub: systemd's SubState.
        boot: systemd's UnitFileState.
        result: how its last process ended.
        states: the kernel's letters of the main process and its descendants (T is stopped).
        since: for how many seconds the unit has been active, None where it is not.
        sockets: its connections to the broker.
        messages: kinds of relevant messages in its log, with the age of the last in seconds.
        way: how far its way to the broker leads, None where that was not tried.

    """

    load: str
    active: str
    sub: str
    boot: str = ""
    result: str = ""
    states: str = ""
    since: float | None = None
    sockets: tuple[Socket, ...] = ()
    messages: tuple[tuple[str, float], ...] = ()
    way: WayAnswer | None = None

    @property
    def runs(self) -> bool:
        """Return whether systemd reports it as active."""
        return self.active in {"active", "reloading"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A call to the agent: whether it answered, the error if any, and the time in seconds."""

    answered: bool
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSeen:
    """All evidence about one agent that could be read.

    Attributes:
        service: the service's name.
        agent: what its API reports of it.
        rpc_endpoint: how it is reached through the broker.
        host: its host's name in cloud.yaml, None where no host goes by the agent's host name.
        age: how many seconds ago it last reported to its API, None never.
        unit: its unit and process, None where unknown.
        ping: the call to it, None where it could not be called.
        stalled: its connections to which the broker's host retransmits without success.
        missing: why evidence is missing.
        broken: what of the way from its host to the broker is broken, None where nothing is.

    """

    service: str
    agent: Agent
    rpc_endpoint: RpcEndpoint
    host: str | None
    age: float | None
    unit: UnitSeen | None = None
    ping: Ping | None = None
    stalled: frozenset[Peer] = frozenset()
    missing: tuple[str, ...] = ()
    broken: BrokenLink | None = None

    @property
    def queue(self) -> str:
        """Return the name of its queue, empty where it receives no calls."""
        return self.rpc_endpoint.queue(self.agent.rpc_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsObservation:
    """The evidence about all agents that were asked for, and the broker's state.

    ``writers`` are the units on controllers that store other agents' reports, by name.
    """

    broker: Messaging
    writers: Mapping[str, tuple[UnitSeen, ...]] = field(default_factory=dict)
    agents: tuple[AgentSeen, ...] = ()


SocketAnswer = tuple[Line, Count, Line, Count, Count, Count]
"""Local address and port, the peer's, bytes not acknowledged, retransmissions."""
PingAnswer = tuple[bool, Line, Seconds]
"""Whether an agent answered, the error if any, the time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAnswer:
    """A unit as ``onhost.read_agents`` returns it."""

    load: Line
    active: Line
    sub: Line
    states: Line
    boot: Line | None = None
    result: Line | None = None
    since: float | None = None
    sockets: tuple[SocketAnswer, ...] = ()
    log: tuple[tuple[Line, float], ...] = ()
    way: WayAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsAnswer:
    """What ``onhost.read_agents`` returns, as it arrives."""

    hostname: Line
    units: Mapping[Line, UnitAnswer]


def read_unit(read: UnitAnswer, ports: frozenset[int]) -> UnitSeen:
    """Return the unit that ``onhost.read_agents`` has read. Pure."""
    return UnitSeen(
        load=read.load,
        active=read.active,
        sub=read.sub,
        boot=read.boot or "",
        result=read.result or "",
        states=read.states,
        since=read.since if read.active in {"active", "reloading"} else None,
        sockets=tuple(
            Socket(local=(local, port), address=peer, unacknowledged=unsent, repeats=repeats)
            for local, port, peer, peer_port, unsent, repeats in read.sockets
            if peer_port in ports
        ),
        messages=read.log,
        way=read.way,
    )
