"""The plan of a ``lab up``: which hosts are built or started, and what is discarded. Pure."""

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
# Started in this order: the critical path is the controller, then the compute hosts.
FIRST = ("controller", "storage1", "compute1")


class Plan(Enum):
    """How a lab gets from its present state to running."""

    BARE = "only bare hosts: start them from the base layer"
    START = "start copies of the built disks"
    BUILD = "build all hosts, keep their disks, start copies"
    BUILD_SOME = "build the named hosts and leave them running"


def choose(lab: Lab, only: Sequence[str], *, built: bool) -> Plan:
    """Return the plan for the hosts named, or all; ``built``: built disks fit the content."""
    names = only or list(lab.places)
    if all(lab.places[name].manifest is None for name in names):
        return Plan.BARE
    if built:
        return Plan.START
    return Plan.BUILD_SOME if only else Plan.BUILD


def to_discard(known: State, chosen: Plan, hosts_with_disk: Sequence[str]) -> list[str]:
    """Return the hosts with disks that cannot be used further and are discarded first.

    Half-built hosts never can; hosts built one by one do not belong to a whole build.
    """
    content = [name for name in hosts_with_disk if known.lab.places[name].manifest]
    interrupted = known.phase is Phase.BUILDING
    return content if interrupted or chosen is Plan.BUILD else []


def needed(name: str) -> tuple[str, ...]:
    """Return the hosts that must be built before this one."""
    return AFTER_COMPUTE if name.startswith("compute") else AFTER[name]
