"""glance: images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.answers import Line, convert
from backstay.inventory.enums import Role
from backstay.services.declaration import (
    Api,
    ApiLivenessProbe,
    ApiProbe,
    InFlightTask,
    Migrations,
    Service,
    Unit,
    Verdict,
)
from backstay.services.records import Listing, Records, ask_list, ask_records

IMAGES = Listing(
    service_type="image", path="/v2/images", key="images", noun="image", nouns="images"
)
# https://docs.openstack.org/glance/latest/user/statuses.html
_STATUSES = frozenset(
    (
        "queued",
        "saving",
        "uploading",
        "importing",
        "active",
        "deactivated",
        "killed",
        "deleted",
        "pending_delete",
    )
)
_NOT_TEXT = frozenset(("size", "virtual_size", "min_disk", "min_ram", "protected", "os_hidden"))


def ask_images(api: Api) -> Sequence[Verdict]:
    """List the images, as ``openstack image list`` does."""
    return ask_list(api, IMAGES, anomalies)


def anomalies(image: Mapping[str, Any]) -> Sequence[str]:
    """Return what is odd about one image record. Pure."""
    odd = []
    status = image.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        odd.append(f"status is {status!r}")
    if status == "active" and not _whole(image.get("size")):
        odd.append(f"is active with size {image.get('size')!r}")
    odd.extend(
        f"{name} is {image[name]!r}, not a number"
        for name in ("min_disk", "min_ram")
        if name in image and not _whole(image[name])
    )
    if not isinstance(image.get("tags", []), list):
        odd.append("tags are not a list")
    odd.extend(_odd_properties(image))
    return odd


def _odd_properties(image: Mapping[str, Any]) -> Sequence[str]:
    """Judge custom properties: the API's own schema says text, anything else confuses clients."""
    return [
        f"property {name} is {value!r}, not text"
        for name, value in image.items()
        if name not in _NOT_TEXT
        and not name.startswith("os_glance_")
        and value is not None
        and not isinstance(value, str | list)
    ]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def in_flight(api: Api) -> Sequence[InFlightTask]:
    """Return the images whose data are on their way."""
    return ask_records(api, IMAGES, read_unfinished)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image as the API describes it, of which only this is used."""

    id: Line
    name: Line | None = None
    status: Line | None = None


def read_unfinished(images: Records) -> Sequence[InFlightTask]:
    """Return the images that are saved, uploaded or imported. Pure. Raises BadAnswer.

    One that is only queued waits for its owner's data, perhaps forever.
    """
    return [
        InFlightTask(what=f"image {image.name or image.id}", doing=str(image.status))
        for image in (convert(ImageRecord, one) for one in images)
        if image.status in {"saving", "uploading", "importing"}
    ]


SERVICE = Service(
    name="glance",
    title="Images (glance)",
    restore_order=40,
    units=(
        Unit(
            name="glance-api",
            role=Role.CONTROLLER,
            purpose="no new instances can be built and no images uploaded",
            ports=(9292,),
        ),
    ),
    databases=("glance",),
    migrations={
        "glance": Migrations(
            versions="glance/db/sqlalchemy/alembic_migrations/versions",
            sync="glance-manage db sync",
        ),
    },
    paths=("/etc/glance", "/var/lib/glance/images"),
    followed=("/var/lib/glance/images",),
    stored_files="SELECT SUBSTRING(l.value, 8), i.os_hash_algo, i.os_hash_value "
    "FROM glance.images i JOIN glance.image_locations l ON l.image_id = i.id AND l.deleted = 0 "
    "WHERE i.deleted = 0 AND i.status = 'active' AND i.os_hash_value IS NOT NULL "
    "AND l.value LIKE 'file://%'",
    api_probes=(ApiProbe(name="image list", ask=ask_images),),
    api_liveness=(
        ApiLivenessProbe(name="one image", service_type="image", path="/v2/images?limit=1"),
    ),
    in_flight=in_flight,
    endpoint_types=("image",),
)
