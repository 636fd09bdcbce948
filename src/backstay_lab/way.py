"""Decide how a lab gets from where it is to running. Pure."""

from collections.abc import Sequence
from enum import Enum

from backstay_lab.layout import Lab
from backstay_lab.state import Phase, State

# A role's host is built after those it needs; hosts with nothing to wait for share the cores.
AFTER = {
    "controller": (),
    "storage1": (),
    "proxy": ("controller", "storage1"),
}
AFTER_COMPUTE = ("controller", "storage1")
# Begun in this order: the longest way is controller, then compute hosts.
FIRST = ("controller", "storage1", "compute1")


class Way(Enum):
    """How a lab gets from where it is to running."""

    BARE = "only bare hosts: start them from the base layer"
    START = "start copies of the built disks"
    BUILD = "build all hosts, keep their disks, start copies"
    BUILD_SOME = "build the named hosts and leave them running"


def way(lab: Lab, only: Sequence[str], *, built: bool) -> Way:
    """Decide how to bring up the hosts named (or all); ``built``: finished disks fit."""
    names = only or list(lab.places)
    if all(lab.places[name].manifest is None for name in names):
        return Way.BARE
    if built:
        return Way.START
    return Way.BUILD_SOME if only else Way.BUILD


def to_discard(known: State, chosen: Way, hosts_with_disk: Sequence[str]) -> list[str]:
    """Decide which hosts' disks cannot be gone on with and are thrown away first.

    Half-built hosts never can; hosts that were built one by one are no part of a whole build.
    """
    content = [name for name in hosts_with_disk if known.lab.places[name].manifest]
    interrupted = known.phase is Phase.BUILDING
    return content if interrupted or chosen is Way.BUILD else []


def needed(name: str) -> tuple[str, ...]:
    """Give the hosts that must be built before this one."""
    return AFTER_COMPUTE if name.startswith("compute") else AFTER[name]
