"""cinder: volumes, their attachments and their data, against nova's records and the guests."""

from collections.abc import Iterator, Mapping

from backstay.answers import convert
from backstay.commands import command
from backstay.inventory.enums import Role
from backstay.jsondata import Json
from backstay.services.cinder import BUSY
from backstay.services.cinder.attachments import disks, stale, statuses
from backstay.services.cinder.records import (
    ATTACHMENTS,
    VOLUMES,
    Attachment,
    Volume,
    VolumeAnswer,
    read_volume,
)
from backstay.services.cinder.stores import (
    STORES,
    StoresAnswer,
    answers,
    ask_stores,
    data,
    notes,
    stored,
)
from backstay.services.declaration import Api
from backstay.services.instances import DISKS, INSTANCES
from backstay.services.reconciliation import (
    Evidence,
    HostQuestion,
    Mismatch,
    MismatchKind,
    Reconciler,
    Repair,
    RepairCommand,
    mismatch,
)
from backstay.services.records import ask_api
from backstay.services.rows import NUMBER, TEXT, UUID, Query

STUCK_AFTER = 1800.0
"""Seconds after which work on a volume is taken for left behind, where its worker runs longer."""


def compare(seen: Evidence) -> Iterator[Mismatch]:
    """Compare volumes with attachments, instances, guests' disks and data. Pure."""
    if not seen.has(VOLUMES):
        return
    volumes = {row["id"]: read_volume(row) for row in seen.rows[VOLUMES]}
    for volume in volumes.values():
        yield from _stuck(seen, volume)
    yield from data(seen, volumes)
    if not seen.has(ATTACHMENTS, DISKS, INSTANCES):
        return
    attachments = [Attachment(**row) for row in seen.rows[ATTACHMENTS]]
    yield from stale(seen, volumes, attachments)
    yield from statuses(seen, volumes, attachments)
    yield from disks(seen, volumes, attachments)


def _stuck(seen: Evidence, volume: Volume) -> Iterator[Mismatch]:
    """Find abandoned work: it is older than the process that would do it, or very old.

    Of a volume in ``creating`` without data, ``error`` loses nothing: its owner sees that it failed
    and deletes it.
    """
    if volume.status not in BUSY:
        return
    workers = [
        answer.worker_age for answer in answers(seen).values() if answer.worker_age is not None
    ]
    left = seen.whole(STORES) and bool(workers) and volume.age > max(workers)
    if not left and volume.age < STUCK_AFTER:
        return
    why = "before cinder-volume was started" if left else "for half an hour at least"
    # A long copy of an image may still be under way where the process is older than the record.
    there = stored(seen, volume.backend).has(volume)
    creating = volume.status == "creating"
    safe = creating and left and there is False
    if creating and there is False:
        proposal, status = "set its status to error: it has no data yet", "error"
    elif creating and there:
        proposal, status = (
            "its data are there: see whether they are whole, then use it",
            "available",
        )
    else:
        proposal, status = "see what became of it in its store, then set what is true", "error"
    yield mismatch(
        "cinder",
        volume.subject,
        MismatchKind.STUCK,
        (
            f"it has been {volume.status} for {volume.age / 60:.0f} minutes, {why}",
            proposal,
            command("openstack", "volume", "set", "--state", status, volume.id),
        ),
        repair=Repair(name="volume-error", arguments={"id": volume.id}) if safe else None,
    )


def _read_status(answer: Json) -> str:
    return convert(VolumeAnswer, answer).volume.status


def set_error(api: Api, arguments: Mapping[str, str]) -> str:
    """Set a volume to error if it is in ``creating`` still."""
    path = f"/volumes/{arguments['id']}"
    if ask_api(api, "block-storage", path, _read_status) != "creating":
        return ""
    api.post("block-storage", f"{path}/action", {"os-reset_status": {"status": "error"}})
    return f"volume {arguments['id']} set to error"


def end_attachment(api: Api, arguments: Mapping[str, str]) -> str:
    """End an attachment. cinder itself refuses it while nova knows the attachment.

    https://docs.openstack.org/api-ref/block-storage/v3/#delete-attachment, from 3.27 on; it asks
    nova since the fix of CVE-2023-2088.
    """
    api.delete(
        "block-storage",
        f"/attachments/{arguments['id']}",
        headers={"OpenStack-API-Version": "volume 3.27"},
    )
    return f"attachment of volume {arguments['volume']} ended"


RECONCILER = Reconciler(
    service="cinder",
    records={
        VOLUMES: Query(
            text="SELECT id, IFNULL(display_name, '') AS name, IFNULL(status, '') AS status, "
            "IFNULL(_name_id, id) AS stored, IFNULL(host, '') AS host, "
            "IFNULL(TIMESTAMPDIFF(SECOND, IFNULL(updated_at, created_at), UTC_TIMESTAMP()), 0) "
            "AS age FROM cinder.volumes WHERE deleted = 0",
            columns={
                "id": UUID,
                "name": TEXT,
                "status": TEXT,
                "stored": UUID,
                "host": TEXT,
                "age": NUMBER,
            },
        ),
        ATTACHMENTS: Query(
            text="SELECT id, volume_id AS volume, instance_uuid AS instance "
            "FROM cinder.volume_attachment WHERE deleted = 0 AND instance_uuid IS NOT NULL "
            "AND attach_status NOT IN ('detached', 'error_attaching')",
            columns={"id": UUID, "volume": UUID, "instance": UUID},
        ),
    },
    questions=(
        HostQuestion(name=STORES, roles=(Role.CONTROLLER,), ask=ask_stores, returns=StoresAnswer),
    ),
    compare=compare,
    notes=notes,
    order=40,
    repairs={
        "volume-error": RepairCommand(
            does="set the status to error",
            safe="its making was given up with the process that did it, and its store has no data "
            "of it",
            api=set_error,
        ),
        "attachment-delete": RepairCommand(
            does="end the stale attachment",
            safe="nova has the instance as deleted, and no guest on any host has the volume",
            api=end_attachment,
        ),
    },
)
