"""What was seen of an agent: plain values, each with its source and age."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backstay.services.declaration import Agent
from backstay.services.messaging import Messaging, Peer, RpcEndpoint

REPEATS = 3
"""The third repetition comes a second and a half after the first sending: no packet just lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """An established connection to the broker, as the agent's own kernel has it.

    ``local`` is its own end, ``address`` the broker's. ``unacknowledged`` are bytes, ``repeats``
    how often the kernel has sent the first of them again in vain.
    """

    local: Peer
    address: str
    unacknowledged: int = 0
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSeen:
    """The agent's unit and process on its host.

    ``states`` are the letters of the main process and its descendants (T is stopped). ``since`` is
    for how many seconds the unit has been active, None where it is not. ``messages`` are kinds of
    messages in its log that matter, with the age of the last in seconds.
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

    @property
    def runs(self) -> bool:
        """Whether systemd calls it running."""
        return self.active in {"active", "reloading"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A call to the agent: whether it answered, what came, and how long it took, in seconds."""

    answered: bool
    told: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSeen:
    """All evidence about one agent, as far as it could be had.

    ``host`` is the host's name in cloud.yaml, None where it has none of that name; ``unit`` and
    ``ping`` are None where they could not be asked, and ``missing`` says why. ``age`` is how many
    seconds ago it last reported to its API, None never. ``stalled`` are those of its connections
    whose packets the broker's host sends again and again in vain.
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

    @property
    def queue(self) -> str:
        """Return the name of its queue, empty where nothing is sent to it."""
        return self.rpc_endpoint.queue(self.agent.rpc_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsObservation:
    """All agents that were asked for, and what the broker tells.

    ``writers`` are the units on controllers that write down others' reports, by name.
    """

    broker: Messaging
    writers: Mapping[str, tuple[UnitSeen, ...]] = field(default_factory=dict)
    agents: tuple[AgentSeen, ...] = ()


def read_unit(told: Mapping[str, Any], ports: frozenset[int]) -> UnitSeen:
    """Turn what ``onhost.look_at_agents`` tells of a unit into typed values. Pure."""
    return UnitSeen(
        load=told["load"],
        active=told["active"],
        sub=told["sub"],
        boot=told["boot"] or "",
        result=told["result"] or "",
        states=told["states"],
        since=told["since"] if told["active"] in {"active", "reloading"} else None,
        sockets=tuple(
            Socket(local=(local, port), address=peer, unacknowledged=unsent, repeats=repeats)
            for local, port, peer, peer_port, unsent, repeats in told["sockets"]
            if peer_port in ports
        ),
        messages=tuple((kind, age) for kind, age in told["log"]),
    )
