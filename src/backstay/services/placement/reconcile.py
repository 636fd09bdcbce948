"""placement: who holds which resources, against nova's instances and compute nodes.

https://docs.openstack.org/nova/latest/admin/troubleshooting/orphaned-allocations.html and
https://docs.openstack.org/nova/latest/admin/troubleshooting/rebuild-placement-db.html
"""

from collections.abc import Iterator, Mapping, Sequence

from backstay.commands import CONTROLLER, command, on_host
from backstay.services.instances import (
    CELLS,
    INSTANCES,
    MIGRATIONS,
    NODES,
    Guest,
    Instance,
    guests,
    instances,
    nowhere,
    one_cell,
    unasked,
)
from backstay.services.reconciliation import (
    Evidence,
    Mismatch,
    MismatchKind,
    Reconciler,
    Repair,
    RepairCommand,
    mismatch,
)
from backstay.services.rows import COUNT, TEXT, UUID, Query, Row

ALLOCATIONS = "placement allocations"
PROVIDERS = "placement resource providers"
_PROVIDER = ("openstack", "resource", "provider")
_HEAL = ("nova-manage", "placement", "heal_allocations")
_HOLDING = frozenset(("active", "paused", "suspended", "stopped", "rescued", "resized", "shelved"))


def compare(seen: Evidence) -> Iterator[Mismatch]:
    """Compare allocations with instances, and resource providers with compute nodes. Pure."""
    if seen.has(ALLOCATIONS, MIGRATIONS, NODES, INSTANCES, CELLS):
        yield from _orphans(seen)
        yield from _instances(seen)
    if seen.has(PROVIDERS, NODES, CELLS):
        yield from _providers(seen)


def _orphans(seen: Evidence) -> Iterator[Mismatch]:
    """Find allocations whose consumer is neither an instance nor a migration."""
    if not one_cell(seen):
        return
    known = instances(seen).keys() | {row["uuid"] for row in seen.rows[MIGRATIONS]}
    running = {guest.id: guest for guest in guests(seen)}
    for consumer, rows in _by_consumer(seen).items():
        if consumer in known:
            continue
        holds = ", ".join(sorted(f"{row['used']} {row['class']}" for row in rows))
        guest = running.get(consumer)
        free = guest is None and nowhere(seen)
        where = ", ".join(sorted({row["provider"] for row in rows}))
        after = f"; its guest runs on {guest.host}" if guest else ""
        yield Mismatch(
            service="placement",
            subject=f"allocation of {consumer}",
            kind=MismatchKind.STALE,
            host=seen.host_of(where) or "",
            evidence=f"it holds {holds} of {where}, and nova has no such instance{after}",
            proposal=_kept_or_freed(seen, guest),
            command=command(*_PROVIDER, "allocation", "delete" if free else "show", consumer),
        )


def _kept_or_freed(seen: Evidence, guest: Guest | None) -> str:
    if guest:
        return "keep it: the guest uses these resources; adopt the guest first"
    if not nowhere(seen):
        return unasked(seen)
    return (
        "when it is certain that no restored record will bring the instance back, give its "
        "resources back"
    )


def _instances(seen: Evidence) -> Iterator[Mismatch]:
    """Find instances whose allocation is missing, or on another host than they are."""
    by_consumer = _by_consumer(seen)
    nodes = {(row["host"], row["node"]): row["uuid"] for row in seen.rows[NODES]}
    running = {(guest.id, guest.host) for guest in guests(seen)}
    for instance in instances(seen).values():
        if instance.moves or instance.task or instance.state not in _HOLDING or not instance.host:
            continue
        rows = by_consumer.get(instance.id, [])
        there = (instance.id, seen.host_of(instance.host) or "") in running
        if not rows:
            yield _without(seen, instance, there=there)
            continue
        node = nodes.get((instance.host, instance.node))
        held = {row["root"] for row in rows}
        if node and node not in held:
            names = ", ".join(sorted({row["provider"] for row in rows}))
            yield mismatch(
                "placement",
                instance.subject,
                MismatchKind.ELSEWHERE,
                (
                    f"its allocation is on {names}, nova says that it is on {instance.host}",
                    "see first where its guest is; where nova is right, make the allocation anew",
                    on_host(*_HEAL, "--force", "--instance", instance.id, at=CONTROLLER),
                ),
                host=seen.host_of(instance.host) or "",
            )


def _without(seen: Evidence, instance: Instance, *, there: bool) -> Mismatch:
    """Return the mismatch of an instance without allocation; safe to repair where its guest is.

    What is allocated then is what the instance takes of its host already.
    """
    guest = "" if there else "; its guest was not seen there, so look for it first"
    return mismatch(
        "placement",
        instance.subject,
        MismatchKind.LACKING,
        (
            f"nova says {instance.state} on {instance.host}, and it holds no resources there: its "
            f"host is given to others as if it were not{guest}",
            "make the allocation that its flavor asks for",
            on_host(*_HEAL, "--instance", instance.id, at=CONTROLLER),
        ),
        host=seen.host_of(instance.host) or "",
        repair=Repair(name="heal-allocation", arguments={"instance": instance.id})
        if there
        else None,
    )


def _providers(seen: Evidence) -> Iterator[Mismatch]:
    """Compare compute nodes with resource providers, by name and identity.

    One name under two identities is the 409 that nova-compute gets when it reports after a restore
    of only one of the two databases.
    """
    nodes = {row["node"]: row["uuid"] for row in seen.rows[NODES]}
    for row in seen.rows[PROVIDERS]:
        if row["parent"] or row["uuid"] in nodes.values() or not one_cell(seen):
            continue
        name, uuid = row["name"], row["uuid"]
        conflict = name in nodes
        holds = int(row["allocations"])
        evidence = f"no compute node of nova's has its identity {uuid}"
        if conflict:
            evidence = (
                f"its identity is {uuid}, that of nova's compute node of this name is "
                f"{nodes[name]}: nova-compute cannot report there (409)"
            )
        yield Mismatch(
            service="placement",
            subject=f"resource provider {name}",
            kind=MismatchKind.ELSEWHERE if conflict else MismatchKind.STALE,
            host=seen.host_of(name) or "",
            evidence=evidence + (f"; {holds} allocations are on it" if holds else ""),
            proposal="restore nova's and placement's databases as of one time; else, with no "
            "allocation left on it, delete it, and heal allocations afterwards",
            command=command(*_PROVIDER, "show", "--allocations", uuid),
        )
    provided = {row["name"] for row in seen.rows[PROVIDERS]}
    for row in seen.rows[NODES]:
        if row["node"] not in provided:
            yield Mismatch(
                service="placement",
                subject=f"compute node {row['node']}",
                kind=MismatchKind.LACKING,
                host=seen.host_of(row["host"]) or "",
                evidence="placement has no resource provider of this name: nothing is scheduled "
                "to it",
                proposal="nova-compute makes it within a minute; if it does not, see its log",
                command=on_host("journalctl", "-u", "nova-compute", "-n", "50"),
            )


def _by_consumer(seen: Evidence) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in seen.rows[ALLOCATIONS]:
        found.setdefault(row["consumer"], []).append(row)
    return found


def heal_allocations(arguments: Mapping[str, str]) -> Sequence[str]:
    """Return the command that makes one instance's allocation, and touches no other."""
    return (*_HEAL, "--skip-port-allocations", "--instance", arguments["instance"])


RECONCILER = Reconciler(
    service="placement",
    records={
        ALLOCATIONS: Query(
            text="SELECT a.consumer_id AS consumer, p.name AS provider, r.uuid AS root, "
            "IFNULL(c.name, a.resource_class_id) AS class, a.used AS used "
            "FROM placement.allocations a "
            "JOIN placement.resource_providers p ON p.id = a.resource_provider_id "
            "JOIN placement.resource_providers r ON r.id = p.root_provider_id "
            "LEFT JOIN placement.resource_classes c ON c.id = a.resource_class_id",
            columns={
                "consumer": UUID,
                "provider": TEXT,
                "root": UUID,
                "class": TEXT,
                "used": COUNT,
            },
        ),
        PROVIDERS: Query(
            text="SELECT p.uuid, p.name, IFNULL(p.parent_provider_id, '') AS parent, "
            "(SELECT COUNT(DISTINCT a.consumer_id) FROM placement.allocations a "
            "WHERE a.resource_provider_id = p.id) AS allocations "
            "FROM placement.resource_providers p",
            columns={"uuid": UUID, "name": TEXT, "parent": TEXT, "allocations": COUNT},
        ),
    },
    compare=compare,
    order=30,
    repairs={
        "heal-allocation": RepairCommand(
            does="make the allocation",
            safe="it writes down what the guest takes of its host already, and only where nothing "
            "is written",
            program=heal_allocations,
            # 4: nothing was to be done any more
            # https://docs.openstack.org/nova/latest/cli/nova-manage.html#placement-heal-allocations
            succeeded=frozenset((0, 4)),
        )
    },
)
