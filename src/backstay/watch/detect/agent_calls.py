"""Which hosts' agents are being called, and which calls have ended."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCalls:
    """How the calls to agents stand, by host: a call also tries the host's way to its broker.

    Attributes:
        awaited: hosts whose agents are being called, or are about to be.
        ended: when the newest of the calls that are over began, in Unix seconds. A call that could
            not be made, or gave no answer, is over as well.

    """

    awaited: frozenset[str] = frozenset()
    ended: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class CallLog:
    """Notes which calls are under way; several may be, also to one host."""

    def __init__(self) -> None:
        self._under_way: list[frozenset[str]] = []
        self._ended: dict[str, float] = {}

    @contextmanager
    def call(self, hosts: Collection[str], at: float) -> Iterator[None]:
        """Note a call to the agents on ``hosts`` that begins ``at``, and its end, however it is."""
        called = frozenset(hosts)
        self._under_way.append(called)
        try:
            yield
        finally:
            self._under_way.remove(called)
            for host in called:
                self._ended[host] = max(at, self._ended.get(host, at))

    def shown(self, wanted: Collection[str]) -> AgentCalls:
        """Return how the calls stand; ``wanted`` are the hosts whose call is about to begin."""
        awaited = frozenset(wanted).union(*self._under_way)
        return AgentCalls(awaited=awaited, ended=dict(self._ended))
