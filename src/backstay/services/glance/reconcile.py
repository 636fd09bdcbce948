"""glance: images against the files of its store."""

import configparser
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.answers import Count
from backstay.commands import command, on_host
from backstay.inventory.enums import Role
from backstay.services.oslo import age_of
from backstay.services.reconciliation import (
    Evidence,
    HostQuestion,
    Mismatch,
    MismatchKind,
    Reconciler,
    mismatch,
)
from backstay.services.rows import COUNT, NUMBER, TEXT, UUID, Query, Row

IMAGES = "glance images"
LOCATIONS = "glance image locations"
FILES = "images' files"
STUCK_AFTER = 3600.0
"""Seconds after which data are not on their way any more, whatever their size."""
_MOVING = frozenset(("saving", "uploading", "importing"))
_LISTED = 50000


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesAnswer:
    """What ``ask_files`` answers.

    ``files`` are sizes in bytes by path, ``cut`` where there are more; ``worker_age`` is in
    seconds, None where none runs.
    """

    files: Mapping[str, Count]
    cut: bool
    worker_age: float | None


def _answers(seen: Evidence) -> Mapping[str, FilesAnswer]:
    return seen.answers.get(FILES, {})


def compare(seen: Evidence) -> Iterator[Mismatch]:
    """Compare images with files. Pure."""
    if not seen.has(IMAGES, LOCATIONS):
        return
    images = {row["id"]: row for row in seen.rows[IMAGES]}
    if seen.whole(FILES):
        yield from _without_data(seen, images)
        yield from _strays(seen, images)
    for row in images.values():
        yield from _stuck(seen, row)


def _without_data(seen: Evidence, images: Mapping[str, Row]) -> Iterator[Mismatch]:
    """Find active images of whose file no host has all bytes; other stores are not read."""
    for row in seen.rows[LOCATIONS]:
        image = images.get(row["image"])
        path = row["value"].removeprefix("file://")
        if (
            image is None
            or path == row["value"]
            or image["status"] not in {"active", "deactivated"}
        ):
            continue
        sizes = {host: answer.files.get(path) for host, answer in _answers(seen).items()}
        wanted = int(image["size"])
        if wanted in sizes.values() or any(answer.cut for answer in _answers(seen).values()):
            continue
        there = {host: size for host, size in sizes.items() if size is not None}
        host = next(iter(there or sizes))
        if there:
            what = f"{path} has {there[host]} of its {wanted} bytes"
        else:
            what = f"{path} is not there, {wanted} bytes"
        yield mismatch(
            "glance",
            f"image {image['name']} {image['id']}",
            MismatchKind.GONE,
            (
                f"glance says {image['status']}, and {what}",
                "take the file back from a backup, or upload the image again; until then keep "
                "users off it",
                command("openstack", "image", "set", "--deactivate", image["id"]),
            ),
            host=host,
        )


def _strays(seen: Evidence, images: Mapping[str, Row]) -> Iterator[Mismatch]:
    """Find files that no image's record names. Data that come in just now are named by an image."""
    named = {row["value"].removeprefix("file://") for row in seen.rows[LOCATIONS]}
    for host, answer in _answers(seen).items():
        for path, size in answer.files.items():
            name = path.rpartition("/")[2]
            if path in named or name in images:
                continue
            yield mismatch(
                "glance",
                f"file {path}",
                MismatchKind.UNKNOWN_TO_RECORDS,
                (
                    f"{size} bytes, and glance has no image with these data",
                    "do not delete it: take its record back from a newer backup or the stream, or "
                    "make an image of it, with the format that it has",
                    on_host("qemu-img", "info", path),
                ),
                host=host,
            )


def _stuck(seen: Evidence, row: Row) -> Iterator[Mismatch]:
    """Find images whose upload has stopped: glance-api has been restarted since it began."""
    if row["status"] not in _MOVING and row["status"] != "queued":
        return
    age = float(row["age"])
    workers = [
        answer.worker_age for answer in _answers(seen).values() if answer.worker_age is not None
    ]
    left = seen.whole(FILES) and bool(workers) and age > max(workers)
    # The upload of a queued image has not started; its owner may have forgotten it, or not.
    late = STUCK_AFTER if row["status"] in _MOVING else 24 * 3600.0
    if age < late and not (left and row["status"] in _MOVING):
        return
    since = ", since before glance-api was started" if left else ""
    yield mismatch(
        "glance",
        f"image {row['name']} {row['id']}",
        MismatchKind.STUCK,
        (
            f"it has been {row['status']} for {age / 60:.0f} minutes{since}",
            "its upload has stopped: let its owner upload it again, then delete this one",
            command("openstack", "image", "show", row["id"]),
        ),
    )


def ask_files() -> dict[str, Any]:
    """Return the files of the file stores with their sizes, and how long glance-api runs.

    Runs on the host. Where there are very many, ``cut`` says that some are left out.
    https://docs.openstack.org/glance_store/latest/user/drivers.html
    """
    parser = configparser.RawConfigParser(strict=False)
    with open("/etc/glance/glance-api.conf", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        parser.read_string(file.read())
    option = "filesystem_store_datadir"
    folders = {
        parser.get(section, option)
        for section in parser.sections()
        # Of a store for data on their way there is no image yet.
        if parser.has_option(section, option) and not section.startswith("os_glance_")
    }
    files: dict[str, int] = {}
    cut = False
    for folder in sorted(folders or {"/var/lib/glance/images"}):
        for name in os.listdir(folder.rstrip("/")):  # noqa: PTH208 - as short
            path = folder.rstrip("/") + "/" + name
            try:
                status = os.stat(path)  # noqa: PTH116 - as short
            except OSError:
                continue  # it was deleted meanwhile
            if not stat.S_ISREG(status.st_mode) or re.match(r"\.", name):
                continue
            if len(files) >= _LISTED:
                cut = True
                break
            files[path] = status.st_size
    return {"files": files, "cut": cut, "worker_age": age_of("glance-api")}


RECONCILER = Reconciler(
    service="glance",
    records={
        IMAGES: Query(
            text="SELECT id, IFNULL(name, '') AS name, status, IFNULL(size, 0) AS size, "
            "IFNULL(TIMESTAMPDIFF(SECOND, IFNULL(updated_at, created_at), UTC_TIMESTAMP()), 0) "
            "AS age FROM glance.images WHERE deleted = 0",
            columns={"id": UUID, "name": TEXT, "status": TEXT, "size": COUNT, "age": NUMBER},
        ),
        LOCATIONS: Query(
            text="SELECT l.image_id AS image, l.value AS value FROM glance.image_locations l "
            "JOIN glance.images i ON i.id = l.image_id AND i.deleted = 0 WHERE l.deleted = 0",
            columns={"image": UUID, "value": TEXT},
        ),
    },
    questions=(
        HostQuestion(name=FILES, roles=(Role.CONTROLLER,), ask=ask_files, returns=FilesAnswer),
    ),
    compare=compare,
    order=50,
)
