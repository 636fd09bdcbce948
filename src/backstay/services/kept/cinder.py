"""cinder: volumes, their attachments and their data, against nova's records and the guests."""

import configparser
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.inventory.words import Role
from backstay.services.cinder import BUSY
from backstay.services.declaration import Api
from backstay.services.kept import libvirt, nova
from backstay.services.kept.declaration import (
    Heal,
    Healing,
    Kept,
    Kind,
    Mismatch,
    Question,
    Seen,
    Words,
)
from backstay.services.kept.oslo import age_of

VOLUMES = "cinder volumes"
ATTACHMENTS = "cinder attachments"
DISKS = "nova block device mappings"
STORES = "volumes' data"
STUCK_AFTER = 1800.0
"""Seconds after which work on a volume is taken for left behind, where its worker runs longer."""
_MADE_LATER = frozenset(("creating", "error", "deleting", "error_deleting"))
"""Volumes that need not have data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as cinder's records have it.

    ``stored`` is the identity that its data are called by, ``backend`` the section of cinder.conf.
    """

    id: str
    name: str
    status: str
    stored: str
    backend: str
    age: float

    @property
    def subject(self) -> str:
        """Return what it is called in a mismatch."""
        return f"volume {self.name} {self.id}".replace("  ", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An attachment of a volume to an instance, as cinder's records have it."""

    id: str
    volume: str
    instance: str


def compare(seen: Seen) -> Iterator[Mismatch]:
    """Compare volumes with attachments, instances, guests' disks and data. Pure."""
    if not seen.has(VOLUMES):
        return
    volumes = {row["id"]: _volume(row) for row in seen.rows[VOLUMES]}
    for volume in volumes.values():
        yield from _stuck(seen, volume)
    yield from _data(seen, volumes)
    if not seen.has(ATTACHMENTS, DISKS, nova.INSTANCES):
        return
    attachments = [Attachment(**row) for row in seen.rows[ATTACHMENTS]]
    yield from _stale(seen, volumes, attachments)
    yield from _statuses(seen, volumes, attachments)
    yield from _disks(seen, volumes, attachments)


def _volume(row: Mapping[str, str]) -> Volume:
    return Volume(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        stored=row["stored"],
        backend=row["host"].partition("@")[2].partition("#")[0],
        age=float(row["age"]),
    )


def _stuck(seen: Seen, volume: Volume) -> Iterator[Mismatch]:
    """Find work that nobody does: it is older than the process that would do it, or very old.

    Of a volume in ``creating`` nobody has any data yet, so ``error`` loses nothing: its owner sees
    that it failed and deletes it.
    """
    if volume.status not in BUSY:
        return
    workers = [
        float(told["worker_age"])
        for told in seen.told.get(STORES, {}).values()
        if told["worker_age"] is not None
    ]
    left = seen.whole(STORES) and bool(workers) and volume.age > max(workers)
    if not left and volume.age < STUCK_AFTER:
        return
    why = "before cinder-volume was started" if left else "for longer than any work takes"
    # A long copy of an image may still be under way where the process is older than the record.
    safe = volume.status == "creating" and left and _has_data(seen, volume) is False
    yield _mismatch(
        volume.subject,
        Kind.STUCK,
        (
            f"it has been {volume.status} for {volume.age / 60:.0f} minutes, {why}",
            "set its status to error: it has no data yet"
            if volume.status == "creating"
            else "see whether it has data, then set its status to what is true",
            f"openstack volume set --state error {volume.id}",
        ),
        Heal(name="volume-error", arguments={"id": volume.id}) if safe else None,
    )


def _has_data(seen: Seen, volume: Volume) -> bool | None:
    """Return whether a volume's data are in its store, None where that is not known."""
    for told in seen.told.get(STORES, {}).values():
        store = told["stores"].get(volume.backend)
        if store is not None and store["names"] is not None:
            return f"volume-{volume.stored}" in store["names"]
    return None


def _data(seen: Seen, volumes: Mapping[str, Volume]) -> Iterator[Mismatch]:
    """Compare volumes with what their stores hold."""
    for volume in volumes.values():
        if volume.status not in _MADE_LATER and _has_data(seen, volume) is False:
            yield _mismatch(
                volume.subject,
                Kind.GONE,
                (
                    f"cinder says {volume.status}, and its store has no volume-{volume.stored}",
                    "look in the store's trash and in its backups; keep users off it until then",
                    f"openstack volume set --state error {volume.id}",
                ),
            )
    named = {volume.stored for volume in volumes.values()} | set(volumes)
    used = {one: guest for guest in libvirt.guests(seen) for one in guest.volumes}
    for host, told in seen.told.get(STORES, {}).items():
        for backend, store in told["stores"].items():
            for name in store["names"] or ():
                match = re.fullmatch(r"volume-([0-9a-f-]{36})", name)
                if match and match[1] not in named:
                    yield _stray(match[1], used.get(match[1]), f"{host}@{backend}", host)


def _stray(identity: str, guest: libvirt.Guest | None, service: str, host: str) -> Mismatch:
    use = f"; guest {guest.name} on {guest.host} uses it" if guest else ""
    return Mismatch(
        service="cinder",
        subject=f"data volume-{identity}",
        kind=Kind.UNKNOWN_TO_RECORDS,
        host=host,
        evidence=f"the store of {service} holds it, and cinder has no record of it{use}",
        proposal="take its record back from a newer backup or the stream; managing it would rename "
        "it under the guest that uses it"
        if guest
        else "do not delete it: take its record back from a newer backup or the stream, or let "
        "cinder manage it under a new identity",
        command="backstay backup list"
        if guest
        else f"cinder manage --id-type source-name --name {identity} {service}#POOL "
        f"volume-{identity}",
    )


def _stale(
    seen: Seen, volumes: Mapping[str, Volume], attachments: list[Attachment]
) -> Iterator[Mismatch]:
    """Find attachments to instances that nova does not have.

    It is safe to end one only where nova remembers the instance as deleted, every compute host was
    asked, and no guest of that identity and no guest with that volume is on any of them.
    """
    known = nova.instances(seen)
    deleted = {row["uuid"] for row in seen.rows.get(nova.DELETED, ())}
    guests = list(libvirt.guests(seen))
    for one in attachments:
        if one.instance in known or one.volume not in volumes:
            continue
        volume = volumes[one.volume]
        users = [g for g in guests if g.id == one.instance or one.volume in g.volumes]
        certain = one.instance in deleted and seen.whole(libvirt.GUESTS) and not users
        if users:
            evidence = f"guest {users[0].name} on {users[0].host} has it or had its place"
            proposal = "adopt the guest first: it may write to the volume"
        elif certain:
            evidence = "nova has that instance as deleted, and no guest uses the volume"
            proposal = "end the attachment, so that the volume can be used again"
        else:
            evidence = "nova has no such instance, nor remembers that it was deleted"
            proposal = "look for the instance first; then end the attachment"
        yield _mismatch(
            volume.subject,
            Kind.STALE,
            (
                f"attached to instance {one.instance}: {evidence}",
                proposal,
                f"openstack --os-volume-api-version 3.27 volume attachment delete {one.id}",
            ),
            Heal(
                name="attachment-delete",
                arguments={"id": one.id, "instance": one.instance, "volume": one.volume},
            )
            if certain
            else None,
        )


def _statuses(
    seen: Seen, volumes: Mapping[str, Volume], attachments: list[Attachment]
) -> Iterator[Mismatch]:
    """Compare a volume's status with whether it has attachments."""
    attached = {one.volume for one in attachments}
    used = {one: guest for guest in libvirt.guests(seen) for one in guest.volumes}
    for volume in volumes.values():
        guest = used.get(volume.id)
        if volume.status == "in-use" and volume.id not in attached:
            use = f"guest {guest.name} on {guest.host} has it" if guest else "no guest has it"
            yield _mismatch(
                volume.subject,
                Kind.STATE,
                (
                    f"cinder says in-use without an attachment; {use}",
                    "keep it so: the guest needs it; take the attachment back from a backup"
                    if guest
                    else "set it to available, when it is certain that nobody uses it",
                    "backstay backup list"
                    if guest
                    else f"openstack volume set --state available --detached {volume.id}",
                ),
            )
        elif volume.status == "available" and (volume.id in attached or guest):
            use = f"guest {guest.name} on {guest.host} has it" if guest else "it has an attachment"
            yield _mismatch(
                volume.subject,
                Kind.DANGER if guest else Kind.STATE,
                (
                    f"cinder says available, and {use}"
                    + (": it could be deleted or attached a second time" if guest else ""),
                    "set it to in-use at once"
                    if guest
                    else "end the attachment if its instance needs it not, else set it to in-use",
                    f"openstack volume set --state in-use --attached {volume.id}",
                ),
            )


def _disks(
    seen: Seen, volumes: Mapping[str, Volume], attachments: list[Attachment]
) -> Iterator[Mismatch]:
    """Compare guests' disks with nova's block device mappings, and these with attachments."""
    known = nova.instances(seen)
    mapped = {(row["instance"], row["volume"]) for row in seen.rows[DISKS]}
    attached = {(one.instance, one.volume) for one in attachments}
    for guest in libvirt.guests(seen):
        if guest.id not in known or known[guest.id].moves or known[guest.id].task:
            continue
        for volume in sorted(guest.volumes):
            if (guest.id, volume) not in mapped:
                name = volumes[volume].subject if volume in volumes else f"volume {volume}"
                yield Mismatch(
                    service="cinder",
                    subject=name,
                    kind=Kind.UNKNOWN_TO_RECORDS,
                    host=guest.host,
                    evidence=f"guest {guest.name} {guest.id} has it as a disk, and nova's records "
                    "of the instance do not: it is gone from there at the next hard reboot",
                    proposal="let the owner unmount it, detach it from the guest by hand, then "
                    "attach it by nova; or take nova's records back from a newer backup",
                    command=f"{{ssh}} virsh domblklist {guest.id}",
                )
    for instance, volume in sorted(mapped - attached):
        if instance in known and volume in volumes and not known[instance].moves:
            yield _mismatch(
                volumes[volume].subject,
                Kind.LACKING,
                (
                    f"nova says that it is a disk of {known[instance].subject}, cinder has no such "
                    "attachment",
                    "restore nova's and cinder's databases as of one time; else detach and "
                    "attach it again when its owner can miss it",
                    f"{{controller}} nova-manage volume_attachment show {instance} {volume}",
                ),
            )


def _mismatch(
    subject: str,
    kind: Kind,
    words: Words,
    heal: Heal | None = None,
) -> Mismatch:
    evidence, proposal, command = words
    return Mismatch(
        service="cinder",
        subject=subject,
        kind=kind,
        host="",
        evidence=evidence,
        proposal=proposal,
        command=command,
        heal=heal,
    )


def notes(seen: Seen) -> list[str]:
    """Return the back ends whose stores are not listed. Pure."""
    drivers = {
        (name, store["driver"])
        for told in seen.told.get(STORES, {}).values()
        for name, store in told["stores"].items()
        if store["names"] is None
    }
    return [
        f"volumes of back end {name} are not compared with its store: {driver} is not listed"
        for name, driver in sorted(drivers)
    ]


def ask_stores() -> dict[str, Any]:
    """Return what the stores of this host's back ends hold, and how long cinder-volume runs.

    Runs on the host. Ceph's RBD is listed by its own program; of another driver the names are None.
    """
    parser = configparser.RawConfigParser(strict=False)
    with open("/etc/cinder/cinder.conf", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        parser.read_string(file.read())
    enabled = parser.get("DEFAULT", "enabled_backends", fallback="")
    stores = {}
    for name in [one.strip() for one in enabled.split(",") if one.strip()]:
        options = dict(parser.items(name)) if parser.has_section(name) else {}
        driver = options.get("volume_driver", "")
        names = rbd_images(options) if driver.endswith("RBDDriver") else None
        stores[name] = {"driver": driver.rpartition(".")[2], "names": names}
    return {"stores": stores, "worker_age": age_of("cinder-volume")}


def rbd_images(options: dict[str, str]) -> list[str]:
    """Return the names of the images of a back end's pool. Raises OSError."""
    command = ["rbd", "--id", options.get("rbd_user", "cinder")]
    command += ["--conf", options.get("rbd_ceph_conf") or "/etc/ceph/ceph.conf"]
    command += ["ls", "--pool", options.get("rbd_pool", "rbd")]
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        timeout=10, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise OSError("rbd ls: " + done.stderr.decode(errors="replace").strip()[-200:])
    return done.stdout.decode(errors="replace").split()


def set_error(api: Api, arguments: Mapping[str, str]) -> str:
    """Set a volume to error if it is in ``creating`` still."""
    path = f"/volumes/{arguments['id']}"
    if api.get("block-storage", path)["volume"]["status"] != "creating":
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


KEPT = Kept(
    service="cinder",
    records={
        VOLUMES: "SELECT id, IFNULL(display_name, '') AS name, IFNULL(status, '') AS status, "
        "IFNULL(_name_id, id) AS stored, IFNULL(host, '') AS host, "
        "TIMESTAMPDIFF(SECOND, IFNULL(updated_at, created_at), UTC_TIMESTAMP()) AS age "
        "FROM cinder.volumes WHERE deleted = 0",
        ATTACHMENTS: "SELECT id, volume_id AS volume, instance_uuid AS instance "
        "FROM cinder.volume_attachment WHERE deleted = 0 AND instance_uuid IS NOT NULL "
        "AND attach_status NOT IN ('detached', 'error_attaching')",
        DISKS: "SELECT instance_uuid AS instance, volume_id AS volume "
        "FROM nova.block_device_mapping WHERE deleted = 0 AND volume_id IS NOT NULL "
        "AND destination_type = 'volume'",
    },
    questions=(Question(name=STORES, roles=(Role.CONTROLLER,), ask=ask_stores),),
    compare=compare,
    notes=notes,
    heals={
        "volume-error": Healing(
            safe="its making was given up with the process that did it, and its store has no data "
            "of it",
            api=set_error,
        ),
        "attachment-delete": Healing(
            safe="nova has the instance as deleted, and no guest on any host has the volume",
            api=end_attachment,
        ),
    },
)
