"""How agents are reached through the message broker, and what the broker tells of them.

Services declare the first (``RpcEndpoint``); the broker's own service reads the second
(``Messaging``).
"""

from dataclasses import dataclass
from functools import cached_property

REPLIES = "reply_"
"""What the names of the queues begin with from which oslo.messaging takes answers to its calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcEndpoint:
    """How one kind of agent is reached: the queue ``TOPIC.HOST``, fed by ``exchange``.

    ``topic`` is empty where nothing is sent to it. ``config`` is the file with the broker's
    address and credentials (``transport_url``), on the agents' hosts and on the controllers;
    ``log`` is the agent's own. ``calls`` tells that the agent itself asks others all the time, and
    so must have a queue for their answers; ``through`` is the unit on the controllers that writes
    down its reports, empty where it does so itself.
    https://docs.openstack.org/oslo.messaging/latest/reference/target.html
    """

    binary: str
    exchange: str
    topic: str
    config: str
    log: str
    calls: bool = False
    through: str = ""

    @property
    def unit(self) -> str:
        """Return the systemd unit, which Debian calls like the binary."""
        return self.binary

    def queue(self, server: str) -> str:
        """Return the name of the queue of the agent on ``server``, empty where it has none."""
        return f"{self.topic}.{server}" if self.topic else ""


Peer = tuple[str, int]
"""Address and port of the client's end of a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue: ``messages`` wait in it; ``lost`` where nothing serves it any more."""

    name: str
    messages: int = 0
    lost: bool = False


@dataclass(frozen=True, kw_only=True)
class Messaging:
    """What the broker tells: ``up`` is for how many seconds it has been serving, None unknown.

    ``refused`` is why it lets no service in, empty where it does. ``clock`` is its host's time in
    Unix seconds. ``consumers`` are pairs of a queue and the connection that takes from it;
    ``bound`` are the queues that an exchange feeds. ``trouble`` is why nothing more is known.
    """

    up: float | None = None
    clock: float = 0.0
    refused: str = ""
    trouble: str = ""
    queues: tuple[Queue, ...] = ()
    consumers: tuple[tuple[str, Peer], ...] = ()
    bound: frozenset[str] = frozenset()
    connections: frozenset[Peer] = frozenset()

    @cached_property
    def queues_by_name(self) -> dict[str, Queue]:
        """Return the queues by their names."""
        return {queue.name: queue for queue in self.queues}

    @cached_property
    def consumers_of(self) -> dict[str, list[Peer]]:
        """Return for each queue the connections that take from it."""
        found: dict[str, list[Peer]] = {}
        for queue, peer in self.consumers:
            found.setdefault(queue, []).append(peer)
        return found

    @cached_property
    def consumed_by(self) -> dict[Peer, list[str]]:
        """Return for each connection the queues that it takes from."""
        found: dict[Peer, list[str]] = {}
        for queue, peer in self.consumers:
            found.setdefault(peer, []).append(queue)
        return found
