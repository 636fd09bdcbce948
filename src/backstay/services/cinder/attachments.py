"""Attachments against instances, guests' disks and volumes' statuses. Pure."""

from collections.abc import Iterator, Mapping

from backstay.commands import CONTROLLER, command, on_host
from backstay.services.cinder.records import Attachment, Volume
from backstay.services.instances import DELETED, DISKS, Guest, guests, instances, nowhere, unasked
from backstay.services.reconciliation import (
    Evidence,
    Mismatch,
    MismatchKind,
    Repair,
    Words,
    mismatch,
)


def stale(
    seen: Evidence, volumes: Mapping[str, Volume], attachments: list[Attachment]
) -> Iterator[Mismatch]:
    """Find attachments to instances that nova does not have.

    It is safe to end one only where nova remembers the instance as deleted, every compute host was
    asked, and no guest of that identity and no guest with that volume is on any of them.
    """
    known = instances(seen)
    deleted = {row["uuid"] for row in seen.rows.get(DELETED, ())}
    there = list(guests(seen))
    for one in attachments:
        if one.instance in known or one.volume not in volumes:
            continue
        volume = volumes[one.volume]
        users = [g for g in there if g.id == one.instance or one.volume in g.volumes]
        certain = one.instance in deleted and nowhere(seen) and not users
        if users:
            evidence = f"guest {users[0].name} on {users[0].host} has it or had its place"
            proposal = "keep it: adopt the guest first, which may write to the volume"
        elif not nowhere(seen):
            evidence, proposal = "nova has no such instance", unasked(seen)
        elif certain:
            evidence = "nova has that instance as deleted, and no guest uses the volume"
            proposal = "end the attachment, so that the volume can be used again"
        else:
            evidence = "nova has no such instance, nor remembers that it was deleted"
            proposal = "look for the instance first, in newer backups too; then end the attachment"
        yield mismatch(
            "cinder",
            volume.subject,
            MismatchKind.STALE,
            (
                f"attached to instance {one.instance}: {evidence}",
                proposal,
                command(
                    "openstack",
                    "--os-volume-api-version",
                    "3.27",
                    "volume",
                    "attachment",
                    "delete" if certain else "show",
                    one.id,
                ),
            ),
            repair=Repair(
                name="attachment-delete",
                arguments={"id": one.id, "instance": one.instance, "volume": one.volume},
            )
            if certain
            else None,
        )


def statuses(
    seen: Evidence, volumes: Mapping[str, Volume], attachments: list[Attachment]
) -> Iterator[Mismatch]:
    """Compare a volume's status with whether it has attachments."""
    attached = {one.volume for one in attachments}
    used = {one: guest for guest in guests(seen) for one in guest.volumes}
    for volume in volumes.values():
        guest = used.get(volume.id)
        if volume.status == "in-use" and volume.id not in attached:
            yield mismatch(
                "cinder",
                volume.subject,
                MismatchKind.STATE,
                _without_attachment(seen, volume, guest),
            )
        elif volume.status == "available" and (volume.id in attached or guest):
            use = f"guest {guest.name} on {guest.host} has it" if guest else "it has an attachment"
            yield mismatch(
                "cinder",
                volume.subject,
                MismatchKind.DANGER if guest else MismatchKind.STATE,
                (
                    f"cinder says available, and {use}"
                    + (": it could be deleted or attached a second time" if guest else ""),
                    "set it to in-use at once"
                    if guest
                    else "end the attachment if its instance needs it not, else set it to in-use",
                    command(
                        "openstack", "volume", "set", "--state", "in-use", "--attached", volume.id
                    ),
                ),
            )


def _without_attachment(seen: Evidence, volume: Volume, guest: Guest | None) -> Words:
    says = "cinder says in-use without an attachment"
    if guest:
        return (
            f"{says}; guest {guest.name} on {guest.host} has it",
            "keep it so: the guest needs it; take the attachment back from a backup",
            "backstay backup list",
        )
    if not nowhere(seen):
        return says, unasked(seen), command("openstack", "volume", "show", volume.id)
    return (
        f"{says}; no guest has it",
        "set it to available, when it is certain that it is not in use",
        command("openstack", "volume", "set", "--state", "available", "--detached", volume.id),
    )


def disks(
    seen: Evidence, volumes: Mapping[str, Volume], attachments: list[Attachment]
) -> Iterator[Mismatch]:
    """Compare guests' disks with nova's block device mappings, and these with attachments."""
    known = instances(seen)
    mapped = {(row["instance"], row["volume"]) for row in seen.rows[DISKS]}
    attached = {(one.instance, one.volume) for one in attachments}
    for guest in guests(seen):
        if guest.id not in known or known[guest.id].moves or known[guest.id].task:
            continue
        for volume in sorted(guest.volumes):
            if (guest.id, volume) not in mapped:
                name = volumes[volume].subject if volume in volumes else f"volume {volume}"
                yield Mismatch(
                    service="cinder",
                    subject=name,
                    kind=MismatchKind.UNKNOWN_TO_RECORDS,
                    host=guest.host,
                    evidence=f"guest {guest.name} {guest.id} has it as a disk, and nova's records "
                    "of the instance do not: it is gone from there at the next hard reboot",
                    proposal="let the owner unmount it, detach it from the guest by hand, then "
                    "attach it by nova; or take nova's records back from a newer backup",
                    command=on_host("virsh", "domblklist", guest.id),
                )
    for instance, volume in sorted(mapped - attached):
        if instance not in known or known[instance].moves or known[instance].task:
            continue
        if volume not in volumes:
            yield mismatch(
                "cinder",
                f"volume {volume}",
                MismatchKind.GONE,
                (
                    f"nova says that it is a disk of {known[instance].subject}, cinder has no such "
                    "volume",
                    "restore nova's and cinder's databases as of one time; its data may still be "
                    "in the store",
                    "backstay backup list",
                ),
            )
        else:
            yield mismatch(
                "cinder",
                volumes[volume].subject,
                MismatchKind.LACKING,
                (
                    f"nova says that it is a disk of {known[instance].subject}, cinder has no such "
                    "attachment",
                    "restore nova's and cinder's databases as of one time; else detach and "
                    "attach it again when its owner can miss it",
                    on_host(
                        "nova-manage",
                        "volume_attachment",
                        "show",
                        instance,
                        volume,
                        at=CONTROLLER,
                    ),
                ),
            )
