"""Which run works on a host: what a run sends to its hosts carries its name, and is refused there.

The note itself, and what is compared, is in ``onhost_lease``. Here is what a run carries, for the
time of a step, and what an operator is shown where a host is another's.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backstay.access.onhost_lease import HELD
from backstay.answers import BadAnswer, read
from backstay.errors import BackstayError, HostError

LIFE = 120.0
"""Seconds for which a host stays a run's after it was heard of there last."""
PLACES = ("/var/lib/backstay", "/run/backstay")


class HostHeld(BackstayError):
    """Another run works on a host, or it was taken back from this one."""


@dataclass(kw_only=True)
class HostLease:
    """What a run carries to its hosts.

    Attributes:
        journal: the name of its journal, which no other has.
        run: its name in that journal.
        epoch: rises with each process that takes a run of this cloud, and where one is abandoned.
        who: the process, for other operators.
        hosts: those that it works on: everything that is sent there takes the host first.
        taken: those that were taken.
        busy: how many calls each host has at the moment: these renew it themselves.

    """

    journal: str
    run: str
    epoch: int
    who: str
    hosts: frozenset[str]
    taken: set[str] = field(default_factory=set)
    busy: Counter[str] = field(default_factory=Counter)

    def document(self) -> dict[str, Any]:
        """Return what is sent to a host, as ``onhost_lease.hold_lease`` has it."""
        return {
            "journal": self.journal,
            "run": self.run,
            "epoch": self.epoch,
            "who": self.who,
            "life": LIFE,
            "places": places(),
        }


_CARRIED: ContextVar[HostLease | None] = ContextVar("host_lease", default=None)


def places() -> list[str]:
    """Return the folders of a host that the note may be in, the preferred one first."""
    return list(PLACES)


def carry(lease: HostLease | None) -> None:
    """Let what this task sends to the run's hosts carry it, and what tasks do that it starts."""
    _CARRIED.set(lease)


def carried(host: str, function: Callable[..., Any]) -> HostLease | None:
    """Return the lease under which ``function`` is sent to ``host``, None where none is needed."""
    lease = _CARRIED.get()
    if lease is None or not (host in lease.hosts or getattr(function, "changes_host", False)):
        return None
    return lease


def document_of(lease: HostLease | None) -> dict[str, Any] | None:
    """Return what is sent to a host, None for nothing."""
    return None if lease is None else lease.document()


@contextlib.contextmanager
def held_elsewhere(lease: HostLease | None, host: str) -> Iterator[None]:
    """Note that a host was taken, if the block asks it; raise HostHeld where it is another's."""
    if lease is not None:
        lease.busy[host] += 1
    try:
        yield
    except HostError as error:
        found = held_in(error.came_back)
        if found is None:
            raise
        raise held(host, found) from None
    finally:
        if lease is not None:
            lease.busy[host] -= 1
    if lease is not None:
        lease.taken.add(host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has a host, as its note says; ``since`` is Unix seconds."""

    who: str = ""
    run: str = ""
    since: float = 0.0
    by: str = ""
    released: bool = False
    taken_back: bool = False


def held_in(text: str) -> Holder | None:
    """Return who has the host, of the error of a program that ended for that; None of another."""
    _, found, rest = text.partition(HELD)
    if not found:
        return None
    try:
        return read(Holder, rest)
    except BadAnswer:
        return Holder(who="an unknown process")


def held(host: str, holder: Holder) -> HostHeld:
    """Return the error for a host that another has."""
    since = "an unknown time"
    with contextlib.suppress(ValueError, OverflowError, OSError):  # as its clock was then
        since = f"{datetime.fromtimestamp(holder.since, UTC):%Y-%m-%d %H:%M} UTC"
    if holder.taken_back:
        by = holder.by or f"{holder.who}, for {holder.run}"
        return HostHeld(
            f"working on {host}",
            came_back=f"the host was taken from this run by {by}",
            remedy="backstay runs list",
        )
    return HostHeld(
        f"working on {host}",
        came_back=f"{holder.who} works on it since {since}: {holder.run} of another journal",
        remedy="wait until that run has ended; if its process is surely dead, take the host over: "
        f"backstay runs release {host}",
    )
