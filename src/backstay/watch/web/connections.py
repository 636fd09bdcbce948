"""Who is connected to the page, and who has to go when there are too many. Pure accounting.

A connection is *silent* until its first byte, then *unknown* until it has sent a request with a
valid login or token, then *known*. Each of the three has a room of its own, so that no number of
strangers takes the place of a reader. A newcomer is always let in: for it goes the connection that
was served least recently, of whoever holds the most in that room.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_CONNECTIONS = 4096
"""Of the page, also where the limit of open files allows more."""

_FILES_SHARE = 4
_FAVOURED = 1024


class Stage(StrEnum):
    """What is known of a connection."""

    SILENT = "silent"
    UNKNOWN = "unknown"
    KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many connections of each kind the page holds."""

    silent: int
    unknown: int
    known: int

    @property
    def total(self) -> int:
        """Return how many connections there are at most."""
        return self.silent + self.unknown + self.known


def limits_for(files: int) -> Limits:
    """Return the limits where the process may open ``files`` files (RLIMIT_NOFILE). Pure.

    Three quarters of the files are left to the probes, whatever happens to the page.
    """
    most = max(8, min(MOST_CONNECTIONS, files // _FILES_SHARE))
    return Limits(silent=most // 2, unknown=most // 4, known=most // 4)


def network_of(address: str) -> str:
    """Return whose an address is: an IPv6 network (/64) belongs to one. Pure."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "elsewhere"
    if ip.version == 6:
        mapped = ip.ipv4_mapped
        return str(mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


class Room(Generic[T]):
    """A bounded number of connections by owner, each of whom may use what others leave."""

    def __init__(self, most: int, favoured: Callable[[str], bool]) -> None:
        self.most = most
        self._favoured = favoured
        self._by_owner: dict[str, OrderedDict[T, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many are in."""
        return self._count

    def held_by(self, owner: str) -> int:
        """Return how many of them an owner holds."""
        return len(self._by_owner.get(owner, ()))

    def enter(self, one: T, owner: str) -> T | None:
        """Let one in; return the one that has to go for it, None if there is room."""
        goes = self._oldest_of(self._holds_most()) if self._count >= self.most else None
        self._by_owner.setdefault(owner, OrderedDict())[one] = None
        self._count += 1
        return goes

    def leave(self, one: T, owner: str) -> None:
        """Let one out; it need not be in."""
        mine = self._by_owner.get(owner)
        if mine is None or one not in mine:
            return
        del mine[one]
        self._count -= 1
        if not mine:
            del self._by_owner[owner]

    def touch(self, one: T, owner: str) -> None:
        """Note that one is being served: others of its owner go first."""
        mine = self._by_owner.get(owner)
        if mine is not None and one in mine:
            mine.move_to_end(one)

    def _oldest_of(self, owner: str) -> T:
        one = next(iter(self._by_owner[owner]))
        self.leave(one, owner)
        return one

    def _holds_most(self) -> str:
        return max(
            self._by_owner, key=lambda owner: (not self._favoured(owner), self.held_by(owner))
        )


class Rooms(Generic[T]):
    """The rooms of all stages, and the addresses from which readers have come."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._from: OrderedDict[str, None] = OrderedDict()
        self._rooms: dict[Stage, Room[T]] = {
            Stage.SILENT: Room(limits.silent, self.is_favoured),
            Stage.UNKNOWN: Room(limits.unknown, self.is_favoured),
            Stage.KNOWN: Room(limits.known, lambda _: False),
        }

    def __getitem__(self, stage: Stage) -> Room[T]:
        """Return the room of a stage."""
        return self._rooms[stage]

    def is_favoured(self, network: str) -> bool:
        """Return whether somebody who was known has come from there."""
        return network in self._from

    def favour(self, network: str) -> None:
        """Remember that somebody who was known has come from there."""
        self._from[network] = None
        self._from.move_to_end(network)
        while len(self._from) > _FAVOURED:
            self._from.popitem(last=False)
