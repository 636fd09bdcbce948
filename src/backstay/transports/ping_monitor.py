"""Pinging many hosts again and again from the event loop, by one socket."""

import asyncio
import ipaddress
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from backstay.transports.ping import Pings

FORGET = 5.0
"""Seconds after which a reply counts no more."""
REMEMBERED = 60


@dataclass(slots=True)
class Echo:
    """How a host answers: ``heard`` is when it last did (monotonic), None never.

    ``seconds`` is the last round trip. ``lost`` are the last pings in order, True for each without
    an answer within a second.
    """

    address: str
    heard: float | None = None
    seconds: float | None = None
    lost: deque[bool] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def loss(self) -> float:
        """Return the share of pings that brought nothing."""
        return sum(self.lost) / len(self.lost) if self.lost else 0.0


class PingMonitor:
    """Pings hosts by name every ``every`` seconds, while ``run`` runs.

    ``allowed`` is false where this user may not ping. Hosts without an IPv4 address are left out.
    """

    def __init__(self, addresses: Iterable[tuple[str, str]], *, every: float) -> None:
        self.every = every
        self.allowed = True
        self.hosts: dict[str, Echo] = {}
        self._addresses = tuple(addresses)
        self._sent: dict[bytes, tuple[str, float]] = {}
        self._pings: Pings | None = None

    async def run(self) -> None:
        """Ping until cancelled; where this user may not ping, wait until cancelled."""
        try:
            pings = Pings()
        except PermissionError:
            self.allowed = False
            await asyncio.Event().wait()
            return
        loop = asyncio.get_running_loop()
        self._pings = pings
        loop.add_reader(pings.fileno(), self.drain)
        try:
            await self._resolve()
            while True:
                self._send(pings)
                await asyncio.sleep(self.every)
        finally:
            loop.remove_reader(pings.fileno())
            pings.close()
            self._pings = None

    def drain(self) -> None:
        """Take the replies that have come."""
        while self._pings is not None and (came := list(self._pings.receive(0.0))):
            now = time.monotonic()
            for _, identity in came:
                host, at = self._sent.pop(identity, ("", 0.0))
                if host in self.hosts:
                    echo = self.hosts[host]
                    echo.heard, echo.seconds = now, now - at
                    echo.lost.append(now - at > 1.0)

    async def _resolve(self) -> None:
        loop = asyncio.get_running_loop()
        for host, address in self._addresses:
            try:
                found = await loop.getaddrinfo(address, None, family=socket.AF_INET)
            except OSError:
                continue
            plain = str(found[0][4][0])
            if ipaddress.ip_address(plain).version == 4:
                self.hosts[host] = Echo(address=plain)

    def _send(self, pings: Pings) -> None:
        now = time.monotonic()
        for identity, (host, at) in list(self._sent.items()):
            if now - at > FORGET:
                del self._sent[identity]
                self.hosts[host].lost.append(True)
        for host, echo in self.hosts.items():
            sent = pings.send(echo.address)
            if sent is not None:
                self._sent[sent] = (host, now)
