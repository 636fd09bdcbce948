"""How agents are reached through the message broker, and what the broker reports of them.

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

    https://docs.openstack.org/oslo.messaging/latest/reference/target.html
    """

    binary: str
    exchange: str
    topic: str
    """Empty where nothing is sent to it."""
    config: str
    """The file with the broker's address and credentials (``transport_url``), on the agents' hosts
    and on the controllers."""
    log: str
    """The agent's own log."""
    calls: bool = False
    """Whether the agent itself calls others all the time, so that it must have a queue for their
    answers."""
    reports_via: str = ""
    """The unit on the controllers that writes down its reports, empty where it does so itself."""

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
    """A queue of the broker."""

    name: str
    messages: int = 0
    """How many wait in it."""
    lost: bool = False
    """Whether nothing serves it any more."""


@dataclass(frozen=True, kw_only=True)
class Messaging:
    """What the broker reports."""

    up: float | None = None
    """For how many seconds it has been serving, None unknown."""
    clock: float = 0.0
    """Its host's time in Unix seconds."""
    refused: str = ""
    """Why it lets no service in, empty where it does."""
    refused_remedy: str = ""
    """What to do about that."""
    trouble: str = ""
    """Why nothing more is known, empty where it is."""
    queues: tuple[Queue, ...] = ()
    consumers: tuple[tuple[str, Peer], ...] = ()
    """Pairs of a queue and the connection that takes from it."""
    bound: frozenset[str] = frozenset()
    """The queues that an exchange feeds."""
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
