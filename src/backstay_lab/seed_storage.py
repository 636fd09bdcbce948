"""Objects with known digests, and a volume with data."""

import hashlib
from collections.abc import Iterator
from typing import Any

from backstay_lab.cloud_api import REMEDY, CloudApi, await_answer
from backstay_lab.errors import LabError

CONTAINERS = {
    "demo": ("records", (0, 1, 17, 1024, 65536, 1048577)),
    "shop": ("catalogue", (3, 512, 4096, 99999, 524288, 3145728)),
}
"""For each project a container and the sizes of its objects in bytes, an empty one among them."""

VOLUME = "records"
VOLUME_GB = 1
VOLUME_DATA_BYTES = 4 << 20
VOLUME_BOUND = 300.0
DEVICE = "/dev/vdb"


def content(name: str, size: int) -> bytes:
    """Return the seeded content of that name: the same bytes for the same name and size."""
    return hashlib.shake_128(name.encode()).digest(size)


def objects_of(project: str) -> Iterator[tuple[str, bytes]]:
    """Yield names (``CONTAINER/OBJECT``) and contents of a project's objects."""
    container, sizes = CONTAINERS[project]
    for number, size in enumerate(sizes, 1):
        name = f"{container}/{number:02d}-{size}-bytes"
        yield name, content(f"{project}/{name}", size)


def seed_objects(users: dict[str, CloudApi]) -> list[dict[str, Any]]:
    """Put each project's objects, as its own user; return what was put.

    Each: ``{project, container, name, bytes, sha256, md5}``. Putting again is harmless: the
    content is the same. Raises LabError, also when the store reports another digest than was sent.
    """
    put = []
    for project, api in users.items():
        container = CONTAINERS[project][0]
        api.call("PUT", "object-store", f"/{container}")
        for path, data in objects_of(project):
            put.append(_put(api, project, path, data))
    return put


def _put(api: CloudApi, project: str, path: str, data: bytes) -> dict[str, Any]:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    headers = {"Content-Type": "application/octet-stream", "ETag": md5}
    answer = api.call("PUT", "object-store", f"/{path}", data=data, headers=headers)
    if answer.headers.get("Etag", "").strip('"') != md5:
        raise LabError(
            f"putting object {path} of project {project}",
            came_back="the store reports another digest than was sent",
            remedy=REMEDY,
        )
    container, name = path.split("/", 1)
    return {
        "project": project,
        "container": container,
        "name": name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": md5,
    }


def has_volumes(admin: CloudApi) -> bool:
    """Return whether some volume service is up, so that volumes can be made. Raises LabError."""
    services = admin.get("volumev3", "/os-services")["services"]
    return any(s["binary"] == "cinder-volume" and s["state"] == "up" for s in services)


def seed_volume(project: CloudApi, image: str, server_id: str) -> dict[str, Any]:
    """Make a volume with the content of an image and attach it to an instance.

    Returns ``{id, name, server, device, bytes, sha256}``, the digest being that of its first
    ``bytes`` bytes. Raises LabError.
    """
    volume_id = _ensure_volume(project, image)
    _await_status(project, volume_id, ("available", "in-use"), failed=("error",))
    volume = project.get("volumev3", f"/volumes/{volume_id}")["volume"]
    if not volume["attachments"]:
        body = {"volumeAttachment": {"volumeId": volume_id}}
        project.post("compute", f"/servers/{server_id}/os-volume_attachments", body)
    # nova reserves the volume before it answers: available again means that the attachment failed
    _await_status(project, volume_id, ("in-use",), failed=("error", "available"))
    return {
        "id": volume_id,
        "name": VOLUME,
        "server": server_id,
        "device": DEVICE,
        "bytes": VOLUME_DATA_BYTES,
        "sha256": hashlib.sha256(volume_data()).hexdigest(),
    }


def volume_data() -> bytes:
    """Return the first bytes of the seeded volume."""
    return content(f"volume/{VOLUME}", VOLUME_DATA_BYTES)


def _ensure_volume(project: CloudApi, image: str) -> str:
    for volume in project.get("volumev3", f"/volumes/detail?name={VOLUME}")["volumes"]:
        if volume["status"] != "error":
            return str(volume["id"])
        project.call("DELETE", "volumev3", f"/volumes/{volume['id']}", accept=(404,))
    body = {"name": VOLUME, "size": VOLUME_GB, "imageRef": image}
    return str(project.post("volumev3", "/volumes", {"volume": body})["volume"]["id"])


def _await_status(
    project: CloudApi, volume_id: str, wanted: tuple[str, ...], *, failed: tuple[str, ...]
) -> None:
    """Wait for one of the wanted states; one that starts as those in ``failed`` ends the wait."""

    def settled() -> str | None:
        status = str(project.get("volumev3", f"/volumes/{volume_id}")["volume"]["status"])
        return status if status in wanted or status.startswith(failed) else None

    attempted = f"waiting for volume {VOLUME} to be {' or '.join(wanted)}"
    status = await_answer(settled, attempted=attempted, bound=VOLUME_BOUND, pause=2.0)
    if status not in wanted:
        raise LabError(attempted, came_back=f"its status is {status}", remedy=REMEDY)
