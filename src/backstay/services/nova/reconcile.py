"""nova: instances and their guests.

Guests outlive their records: one that nova does not know is adopted, never deleted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backstay.answers import Line, convert
from backstay.commands import command, into, literal, on_host
from backstay.inventory.enums import Role
from backstay.jsondata import Json
from backstay.services.declaration import Api
from backstay.services.instances import (
    CELLS,
    DELETED,
    DISKS,
    GUESTS,
    INSTANCES,
    MIGRATIONS,
    NODES,
    OFF,
    Guest,
    Instance,
    guests,
    has_disk,
    instances,
    one_cell,
)
from backstay.services.nova import key_of
from backstay.services.nova.reaper import ReaperAnswer, ask_reaper, judge_reaper
from backstay.services.reconciliation import (
    Evidence,
    HostQuestion,
    Mismatch,
    MismatchKind,
    Reconciler,
    Repair,
    RepairCommand,
    RestoreGuard,
    mismatch,
)
from backstay.services.records import ask_api
from backstay.services.rows import COUNT, NUMBER, TEXT, UUID, UUID_OR_NONE, Query

EVACUATIONS = "nova evacuations"
STUCK_AFTER = 1800.0
"""Seconds after which a task of an instance is not under way any more, but left behind."""
_WITH_GUEST = frozenset(("active", "paused", "suspended", "stopped", "rescued", "resized"))


def compare(seen: Evidence) -> Iterator[Mismatch]:
    """Compare instances with guests. Pure."""
    if not seen.has(INSTANCES):
        return
    known = instances(seen)
    there = list(guests(seen))
    places: dict[str, list[Guest]] = {}
    for guest in there:
        places.setdefault(guest.id, []).append(guest)
    if seen.has(DELETED, CELLS):
        for guest in there:
            if guest.id not in known:
                yield from _unknown(seen, guest)
    for instance in known.values():
        yield from _placed(seen, instance, places.get(instance.id, []))
        yield from _stuck(instance)
    if seen.has(EVACUATIONS):
        yield from _evacuated(seen, known, places)


def _unknown(seen: Evidence, guest: Guest) -> Iterator[Mismatch]:
    """Yield the mismatch of a guest without a record; other cells' records were not read."""
    if not one_cell(seen):
        return
    deleted = {row["uuid"] for row in seen.rows[DELETED]}
    subject, save = f"guest {guest.name} {guest.id}", on_host("virsh", "dumpxml", guest.id)
    if guest.id in deleted:
        yield Mismatch(
            service="nova",
            subject=subject,
            kind=MismatchKind.DANGER if guest.runs else MismatchKind.UNKNOWN_TO_RECORDS,
            host=guest.host,
            evidence=f"it is {guest.state}, and nova's record of it is marked as deleted: with "
            "running_deleted_instance_action = reap nova-compute destroys it with its disk",
            proposal="ask its owner whether it was deleted on purpose; if so end it by hand, if "
            "not take its record back from a backup; keep its description first",
            command=save,
        )
        return
    yield Mismatch(
        service="nova",
        subject=subject,
        kind=MismatchKind.UNKNOWN_TO_RECORDS,
        host=guest.host,
        evidence=f"it is {guest.state}, and nova has no record of it",
        proposal="adopt it, do not delete it: take its record back from a newer backup, the "
        "stream, or the databases that a restore has put aside (backstay backup list; backstay "
        "backup restore BACKUP --service nova --dry-run); or else make an image of its disk and "
        "build it again. Keep its description first",
        command=save,
    )


def _placed(seen: Evidence, instance: Instance, guests: Sequence[Guest]) -> Iterator[Mismatch]:
    """Compare where and how an instance is with where and how its guest is."""
    if instance.moves:
        return
    host = seen.host_of(instance.host)
    if len(guests) > 1 and sum(one.runs for one in guests) > 1:
        where = " and ".join(sorted(one.host for one in guests))
        yield mismatch(
            "nova",
            instance.subject,
            MismatchKind.TWICE,
            (
                f"it runs on {where}, nova says {instance.host or 'no host'}: both write its disk",
                "find out which one its users reach, and pause the other at once",
                on_host("virsh", "suspend", instance.id),
            ),
            host=host or "",
        )
        return
    here = next((one for one in guests if one.host == host), None)
    if here is not None:
        yield from _powered(instance, here)
    elif guests:
        yield _elsewhere(instance, guests[0])
    elif instance.state in _WITH_GUEST and host in seen.answers.get(GUESTS, {}):
        yield _gone(seen, instance, str(host))


def _gone(seen: Evidence, instance: Instance, host: str) -> Mismatch:
    """Return the mismatch of an instance without a guest on any host that answered."""
    disk = has_disk(seen.answers[GUESTS][host], instance.id)
    silent = seen.silent.get(GUESTS)
    elsewhere = f"; {', '.join(sorted(silent))} could not be asked" if silent else ""
    if disk:
        what = "its own disk is there: a hard reboot makes the guest again from the record"
    else:
        what = (
            "its own disk is not there either (it may boot from a volume): find the disk, or a "
            "backup of it, before a hard reboot makes an empty one"
        )
    return mismatch(
        "nova",
        instance.subject,
        MismatchKind.GONE,
        (
            f"nova says {instance.state} on {instance.host}, and libvirt there has no such guest"
            + elsewhere,
            what,
            command("openstack", "server", "reboot", "--hard", instance.id),
        ),
        host=host,
    )


def _elsewhere(instance: Instance, guest: Guest) -> Mismatch:
    sql = (
        f"UPDATE instances SET host={literal(guest.host)}, node={literal(guest.host)} "  # noqa: S608 - for a person
        f"WHERE uuid={literal(instance.id)}"
    )
    heal = command(
        "nova-manage", "placement", "heal_allocations", "--force", "--instance", instance.id
    )
    return mismatch(
        "nova",
        instance.subject,
        MismatchKind.ELSEWHERE,
        (
            f"its guest is {guest.state} on {guest.host}, nova says {instance.host or 'no host'}",
            "put its host right in nova's record, under the name that the host's nova-compute "
            f"reports by; then heal its allocation: {heal}",
            into(sql, "mariadb", "nova"),
        ),
        host=guest.host,
    )


def _powered(instance: Instance, guest: Guest) -> Iterator[Mismatch]:
    """Compare power; nova itself acts on it every ten minutes (sync_power_state_interval)."""
    if instance.task:
        return
    if instance.state == "stopped" and guest.runs:
        yield Mismatch(
            service="nova",
            subject=instance.subject,
            kind=MismatchKind.STATE,
            host=guest.host,
            evidence=f"its guest is {guest.state}, nova says stopped: nova-compute will stop the "
            "guest when it next compares",
            proposal="set its state to active; the guest is not touched",
            command=command("openstack", "server", "set", "--state", "active", instance.id),
            repair=Repair(name="server-active", arguments={"id": instance.id}),
        )
    elif instance.state == "active" and guest.state in {OFF, "crashed"}:
        yield mismatch(
            "nova",
            instance.subject,
            MismatchKind.STATE,
            (
                f"its guest is {guest.state}, nova says active",
                "start it, if its owner wants it to run",
                f"{command('openstack', 'server', 'start', instance.id)}; else "
                + command("openstack", "server", "stop", instance.id),
            ),
            host=guest.host,
        )


def _stuck(instance: Instance) -> Iterator[Mismatch]:
    task = instance.task or ("building" if instance.state == "building" else "")
    if task and instance.age > STUCK_AFTER:
        yield mismatch(
            "nova",
            instance.subject,
            MismatchKind.STUCK,
            (
                f"it has been {task} for {instance.age / 60:.0f} minutes",
                "see the log of nova-compute on its host; if nothing works on it, reset it",
                command("openstack", "server", "set", "--state", "error", instance.id),
            ),
        )


def _evacuated(
    seen: Evidence, known: Mapping[str, Instance], places: Mapping[str, Sequence[Guest]]
) -> Iterator[Mismatch]:
    """Find guests that nova-compute destroys when it next starts, as evacuated from there."""
    for row in seen.rows[EVACUATIONS]:
        source = seen.host_of(row["source"])
        for guest in places.get(row["uuid"], ()):
            if guest.host == source:
                name = known[guest.id].name if guest.id in known else guest.name
                yield Mismatch(
                    service="nova",
                    subject=f"instance {name} {guest.id}",
                    kind=MismatchKind.DANGER,
                    host=guest.host,
                    evidence=f"it is {guest.state} here, and nova has a record of its evacuation "
                    f"to {row['dest']} ({row['status']}): nova-compute destroys it when it starts",
                    proposal="do not restart nova-compute there before it is known which guest is "
                    "the right one; if this one is, the record of the evacuation has to end",
                    command=_end_evacuation(row["migration"], guest.id),
                )


def _end_evacuation(migration: str, instance: str) -> str:
    """Return how the record of an evacuation ends; records of old releases have no identity."""
    if not migration:
        return command("openstack", "server", "migration", "list", "--server", instance)
    sql = f"UPDATE migrations SET status='error' WHERE uuid={literal(migration)}"  # noqa: S608 - as above
    return into(sql, "mariadb", "nova")


def notes(seen: Evidence) -> list[str]:
    """Return a note that other cells' records are not read, where there are any. Pure."""
    if not seen.has(CELLS) or one_cell(seen):
        return []
    return [
        "there are several cells, and only the records of database nova are read: guests, "
        "allocations and ports without an instance are not reported"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A server's states as the API has them."""

    __pydantic_config__ = {"alias_generator": key_of}  # noqa: RUF012 - as pydantic reads it

    vm_state: Line
    task_state: Line | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """The answer of ``/servers/ID``."""

    server: ServerState


def _read_state(answer: Json) -> ServerState:
    return convert(ServerAnswer, answer).server


def set_active(api: Api, arguments: Mapping[str, str]) -> str:
    """Set a stopped instance's state to active, if it is still stopped and has no task."""
    path = f"/servers/{arguments['id']}"
    server = ask_api(api, "compute", path, _read_state)
    if server.vm_state != "stopped" or server.task_state:
        return ""
    api.post("compute", f"{path}/action", {"os-resetState": {"state": "active"}})
    return f"state of {arguments['id']} set to active"


RECONCILER = Reconciler(
    service="nova",
    records={
        INSTANCES: Query(
            text="SELECT uuid, IFNULL(display_name, '') AS name, IFNULL(host, '') AS host, "
            "IFNULL(node, '') AS node, IFNULL(vm_state, '') AS vm_state, "
            "IFNULL(task_state, '') AS task_state, "
            "IFNULL(TIMESTAMPDIFF(SECOND, IFNULL(updated_at, created_at), UTC_TIMESTAMP()), 0) "
            "AS age FROM nova.instances WHERE deleted = 0",
            columns={
                "uuid": UUID,
                "name": TEXT,
                "host": TEXT,
                "node": TEXT,
                "vm_state": TEXT,
                "task_state": TEXT,
                "age": NUMBER,
            },
        ),
        DELETED: Query(
            text="SELECT uuid FROM nova.instances WHERE deleted <> 0 "
            "ORDER BY deleted_at DESC LIMIT 50000",
            columns={"uuid": UUID},
        ),
        EVACUATIONS: Query(
            text="SELECT instance_uuid AS uuid, source_compute AS source, "
            "IFNULL(dest_compute, '') AS dest, status, IFNULL(uuid, '') AS migration "
            "FROM nova.migrations WHERE migration_type = 'evacuation' AND deleted = 0 "
            "AND status IN ('accepted', 'pre-migrating', 'done')",
            columns={
                "uuid": UUID_OR_NONE,
                "source": TEXT,
                "dest": TEXT,
                "status": TEXT,
                "migration": UUID_OR_NONE,
            },
        ),
        NODES: Query(
            text="SELECT uuid, IFNULL(host, '') AS host, "
            "IFNULL(hypervisor_hostname, '') AS node FROM nova.compute_nodes WHERE deleted = 0",
            columns={"uuid": UUID_OR_NONE, "host": TEXT, "node": TEXT},
        ),
        DISKS: Query(
            text="SELECT instance_uuid AS instance, volume_id AS volume "
            "FROM nova.block_device_mapping WHERE deleted = 0 AND volume_id IS NOT NULL "
            "AND destination_type = 'volume'",
            columns={"instance": UUID_OR_NONE, "volume": UUID},
        ),
        MIGRATIONS: Query(
            text="SELECT uuid FROM nova.migrations WHERE deleted = 0 "
            "AND status NOT IN ('completed', 'failed', 'reverted', 'cancelled', 'error')",
            columns={"uuid": UUID_OR_NONE},
        ),
        # Cell 0 keeps those that never got a host.
        CELLS: Query(
            text="SELECT COUNT(*) AS others FROM nova_api.cell_mappings "
            "WHERE uuid <> '00000000-0000-0000-0000-000000000000'",
            columns={"others": COUNT},
            one_row=True,
        ),
    },
    compare=compare,
    notes=notes,
    order=20,
    guards=(
        RestoreGuard(
            question=HostQuestion(
                name="reaper",
                roles=(Role.COMPUTE,),
                ask=ask_reaper,
                returns=ReaperAnswer,
                bound=6.0,
            ),
            judge=judge_reaper,
        ),
    ),
    repairs={
        "server-active": RepairCommand(
            does="set the state to active",
            safe="only the record's state changes; the guest runs already",
            api=set_active,
        )
    },
)
