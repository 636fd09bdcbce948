"""What is lost and what remains, from what was observed. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from backstay.inventory.enums import Role
from backstay.services.declaration import Agent, Unit, Workload

# Remote ports over which disks come: iSCSI and NFS are the kernel's own connections.
_KERNEL_STORAGE = frozenset((3260, 2049))
OBJECTS = "object-store"


class Kind(StrEnum):
    """What becomes of something while the host is down."""

    LOST = "lost"
    KEPT = "kept"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """``what`` users lose or keep, and ``why``: what was seen."""

    kind: Kind
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A connection of ``program`` (empty: the kernel) to a port of another host."""

    address: str
    port: int
    program: str
    storage: bool
    """Whether the disk of an instance comes over it."""

    @classmethod
    def of(cls, address: str, port: int, program: str, emulators: tuple[str, ...]) -> "Connection":
        """Return the connection; ``emulators`` are how programs are called that run instances."""
        by_kernel = not program and port in _KERNEL_STORAGE
        storage = by_kernel or program.startswith(emulators)
        return cls(address=address, port=port, program=program, storage=storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactInput:
    """What was seen of a cloud with ``host`` in mind.

    ``endpoints`` are the catalogue's types whose endpoint has the host's address, ``elsewhere`` the
    types that have one elsewhere too; ``units`` are those that run on the host. ``endpoints``,
    ``workloads`` and ``agents`` are None where the APIs did not answer, or could not be read
    (``trouble`` says why); agents are those that are up. ``connections`` are of each host that
    could be asked, None of one that could not (``silent`` has the reasons). ``resumes`` tells
    whether the host starts its instances again, None where that is not known.
    """

    host: str
    address: str
    hostname: str
    endpoints: tuple[str, ...] | None
    elsewhere: frozenset[str]
    units: tuple[Unit, ...]
    serving: tuple[Unit, ...]
    workloads: tuple[Workload, ...] | None
    agents: tuple[Agent, ...] | None
    connections: Mapping[str, Sequence[Connection] | None]
    resumes: bool | None
    autostart: str
    """The setting that ``resumes`` is the value of."""
    trouble: str = ""
    silent: Mapping[str, str] = field(default_factory=dict)


def judge(seen: ImpactInput) -> list[Effect]:
    """Return what is lost, then what is kept, then what is not known."""
    effects = [
        *_apis(seen),
        *_units(seen),
        *_instances(seen),
        *_served(seen),
        *_storage(seen),
        *_clients(seen),
    ]
    return sorted(effects, key=lambda effect: list(Kind).index(effect.kind))


def _apis(seen: ImpactInput) -> Iterator[Effect]:
    if seen.endpoints is None:
        why = seen.trouble or "the catalogue could not be read"
        yield Effect(kind=Kind.UNKNOWN, what="which APIs are this host's alone", why=why)
        return
    lost = [kind for kind in seen.endpoints if kind not in seen.elsewhere]
    others = [kind for kind in lost if kind != OBJECTS]
    if OBJECTS in lost:
        yield Effect(
            kind=Kind.LOST,
            what="no object can be read or written",
            why="the only endpoint of object-store is this host's",
        )
    if others:
        yield Effect(
            kind=Kind.LOST,
            what=f"the APIs {', '.join(others)}",
            why="their only endpoints are this host's",
        )
    kept = [kind for kind in seen.endpoints if kind in seen.elsewhere]
    if kept:
        why = "other hosts have endpoints of them too"
        yield Effect(kind=Kind.KEPT, what=f"the APIs {', '.join(kept)}", why=why)


def _units(seen: ImpactInput) -> Iterator[Effect]:
    """Judge units by their purpose; what a compute host's are for goes with its instances."""
    by_purpose: dict[str, list[str]] = {}
    for unit in seen.units:
        if unit.role is not Role.COMPUTE:
            by_purpose.setdefault(unit.purpose, []).append(unit.name)
    for purpose, names in by_purpose.items():
        verb = "runs" if len(names) == 1 else "run"
        yield Effect(kind=Kind.LOST, what=purpose, why=f"{', '.join(names)} {verb} on this host")


def _instances(seen: ImpactInput) -> Iterator[Effect]:
    if seen.workloads is None:
        why = seen.trouble or "the compute API did not answer"
        yield Effect(kind=Kind.UNKNOWN, what="which instances run where", why=why)
        return
    here = [one.name for one in seen.workloads if one.host in {seen.host, seen.hostname}]
    away = [one for one in seen.workloads if one.host not in {seen.host, seen.hostname}]
    if here:
        again = {
            True: f"they start again with it: {seen.autostart} is true there",
            False: f"they stay off: {seen.autostart} is not true there",
            None: "whether they start again with it is not known",
        }[seen.resumes]
        what = f"{_count(here, 'instance')}: {_few(here)}"
        yield Effect(kind=Kind.LOST, what=what, why=f"on this host; {again}")
    if away:
        hosts = sorted({one.host for one in away})
        what = f"{_count(away, 'instance')}: {_few([one.name for one in away])}"
        yield Effect(kind=Kind.KEPT, what=what, why=f"on {', '.join(hosts)}")


def _served(seen: ImpactInput) -> Iterator[Effect]:
    """Judge what instances get from agents while they run, each kind of it by itself."""
    if seen.workloads is None or seen.agents is None:
        return
    hosts = {one.host for one in seen.workloads} - {seen.host, seen.hostname}
    for unit in seen.serving:
        up = {agent.host for agent in seen.agents if agent.binary == unit.agent}
        left = up - {seen.host, seen.hostname}
        if hosts and hosts <= left:
            yield Effect(
                kind=Kind.KEPT,
                what=f"instances keep {unit.serves}",
                why=f"{unit.name} is up on each host that they run on",
            )
        elif up and not left:
            why = f"{unit.name} is up on this host only"
            yield Effect(kind=Kind.LOST, what=f"instances lose {unit.serves}", why=why)
        elif hosts:
            lacking = ", ".join(sorted(hosts - left))
            why = f"{unit.name} is not up on {lacking}; whether others serve them is not seen"
            yield Effect(kind=Kind.UNKNOWN, what=f"whether instances keep {unit.serves}", why=why)


def _storage(seen: ImpactInput) -> Iterator[Effect]:
    """Judge disks by the connections over which they come."""
    using, total, silent = [], 0, []
    for host, connections in seen.connections.items():
        if connections is None:
            silent.append(host)
            continue
        disks = [one for one in connections if one.storage]
        total += len(disks)
        if any(one.address == seen.address for one in disks):
            using.append(host)
    if using:
        yield Effect(
            kind=Kind.LOST,
            what=f"disks of instances on {', '.join(using)} stand still until it is back, unless "
            "another host has copies of them",
            why="their emulators are connected to this host for storage",
        )
    elif total:
        yield Effect(
            kind=Kind.KEPT,
            what="attached volumes",
            why=f"none of {_count(range(total), 'storage connection')} of the compute hosts goes "
            "to this host",
        )
    if silent:
        yield Effect(
            kind=Kind.UNKNOWN,
            what=f"where the disks of {', '.join(silent)} come from",
            why="; ".join(seen.silent.get(host, "the host could not be asked") for host in silent),
        )


def _clients(seen: ImpactInput) -> Iterator[Effect]:
    """Say which programs of other hosts have to reconnect by themselves."""
    found: dict[str, set[str]] = {}
    for host, connections in seen.connections.items():
        for one in connections or ():
            if one.address == seen.address and one.program and not one.storage:
                found.setdefault(one.program, set()).add(host)
    if found:
        programs = ", ".join(sorted(found))
        hosts = ", ".join(sorted({host for hosts in found.values() for host in hosts}))
        yield Effect(
            kind=Kind.LOST,
            what=f"the connections of {programs} on {hosts}",
            why="they are connected to this host, and have to reconnect when it is back",
        )


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _few(names: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
