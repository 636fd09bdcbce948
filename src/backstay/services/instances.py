"""Instances and their guests, as one service's reconciler shows them to the others.

The records of instances are read by one service, the guests are asked for by another, and several
compare their own records with both. Where one of the two is not there its part of the evidence is
not there either, and nothing is concluded from that. Everything here is pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from backstay.answers import Count, Line, Mac, Uuid
from backstay.services.reconciliation import Evidence

INSTANCES = "nova instances"
"""Query: the instances that are not deleted."""
DELETED = "nova instances that are deleted"
"""Query: the identities of the instances that were deleted last."""
CELLS = "nova cells"
"""Query: how many cells there are beside cell 0; only one cell's records are read."""
NODES = "nova compute nodes"
"""Query: the hypervisors that there should be, by host."""
DISKS = "nova block device mappings"
"""Query: the volumes that instances should have as disks."""
MIGRATIONS = "nova migrations that hold allocations"
"""Query: the identities of migrations under way."""
GUESTS = "guests"
"""Question: the guests that there really are on a compute host."""

RUNNING, OFF = "running", "off"
_STATES = {1: RUNNING, 2: RUNNING, 3: "paused", 4: RUNNING, 5: OFF, 6: "crashed", 7: "suspended"}
"""https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainState; 4 is on its way to off."""
_MOVING = ("migrating", "resize", "rebuild", "shelving", "unshelving", "spawning", "deleting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance as the records have it."""

    id: str
    name: str
    host: str
    """The compute host, by the name that its agent reports under; empty where it has none."""
    node: str
    """The hypervisor's name."""
    state: str
    task: str
    """What is being done with it, empty where nothing is."""
    age: float
    """For how many seconds its record is unchanged."""

    @property
    def subject(self) -> str:
        """Return what it is called in a mismatch."""
        return f"instance {self.name} {self.id}"

    @property
    def moves(self) -> bool:
        """Whether it is between two states or hosts: two guests or none are then no fault."""
        return self.task.startswith(_MOVING) or self.state in {"building", "resized"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest as the hypervisor has it."""

    id: str
    name: str
    host: str
    """The host of cloud.yaml that it is on."""
    state: str
    volumes: frozenset[str]
    """Identities of the volumes among its disks."""
    macs: frozenset[str]
    """Addresses of its network cards, in lower case."""

    @property
    def runs(self) -> bool:
        """Whether it has a process: a paused guest has one, too."""
        return self.state in {RUNNING, "paused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAnswer:
    """A guest as its host describes it; ``state`` is the hypervisor's number."""

    id: Uuid
    name: Line
    state: Count
    volumes: frozenset[Uuid]
    macs: frozenset[Mac]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestsAnswer:
    """What a host answers to GUESTS; ``kept`` are the identities that have a disk there."""

    guests: tuple[GuestAnswer, ...]
    kept: frozenset[Line]


def instances(seen: Evidence) -> dict[str, Instance]:
    """Return the instances by their identity; ask ``seen.has(INSTANCES)`` first."""
    return {
        row["uuid"]: Instance(
            id=row["uuid"],
            name=row["name"],
            host=row["host"],
            node=row["node"],
            state=row["vm_state"],
            task=row["task_state"],
            age=float(row["age"]),
        )
        for row in seen.rows[INSTANCES]
    }


def guests(seen: Evidence) -> Iterator[Guest]:
    """Yield every guest of every compute host that answered."""
    for host, answer in seen.answers.get(GUESTS, {}).items():
        for guest in answer.guests:
            yield Guest(
                id=guest.id,
                name=guest.name,
                host=host,
                state=_STATES.get(guest.state, "in an unknown state"),
                volumes=guest.volumes,
                macs=guest.macs,
            )


def one_cell(seen: Evidence) -> bool:
    """Return whether the records that were read are all that there are."""
    return int(seen.rows[CELLS][0]["others"]) <= 1


def nowhere(seen: Evidence) -> bool:
    """Return whether what no host's answer names is on no host.

    A compute host that did not answer, or that cloud.yaml does not have, may have any guest: then
    nothing is free to be deleted.
    """
    return seen.whole(GUESTS) and seen.has(NODES) and not strangers(seen)


def strangers(seen: Evidence) -> list[str]:
    """Return the hosts that have a hypervisor by the records, and were not asked for guests."""
    hosts = {row["host"] for row in seen.rows.get(NODES, ())}
    return sorted(host for host in hosts if seen.host_of(host) not in seen.answers.get(GUESTS, {}))


def unasked(seen: Evidence) -> str:
    """Return a proposal that names the hosts that did not answer."""
    silent = sorted({*seen.silent.get(GUESTS, ()), *strangers(seen)})
    return f"ask {', '.join(silent) or 'the compute hosts'} first: its guest may run there"


def has_disk(answer: GuestsAnswer, identity: str) -> bool:
    """Return whether a host's answer to GUESTS has an instance's own disk."""
    return identity in answer.kept
