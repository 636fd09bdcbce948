"""An image: upload, read back, delete."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from backstay.answers import Line
from backstay.services.declaration import Api
from backstay.services.glance import IMAGES
from backstay.services.smoke_test import Named, SmokeTest, SmokeTestFailed, ask, call, create, named

SIZE = 1024 * 1024
_REMEDY = "read the log of glance-api (journalctl -u glance-api); is there space for images?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """An image's status."""

    status: Line


async def use(api: Api, name: str) -> str:
    """Upload 1 MiB of random bytes and compare what comes back."""
    record = {
        "name": name,
        "disk_format": "raw",
        "container_format": "bare",
        "visibility": "private",
    }
    image = (await create(api, "image", "/v2/images", record, Named)).id
    content = secrets.token_bytes(SIZE)
    await call(api.put, "image", f"/v2/images/{image}/file", content)
    status = (await ask(api, "image", f"/v2/images/{image}", ImageStatus)).status
    if status != "active":
        raise SmokeTestFailed(f"uploaded, but its status is {status}", _REMEDY)
    back = await call(api.read, "image", f"/v2/images/{image}/file")
    if hashlib.sha256(back).digest() != hashlib.sha256(content).digest():
        raise SmokeTestFailed(
            f"the image differs when read back ({len(back)} of {SIZE} bytes)", _REMEDY
        )
    return "1 MiB uploaded, read back, deleted"


async def find(api: Api) -> Sequence[tuple[str, str]]:
    """Return id and name of all images of smoke tests, page by page."""
    return await named(api, IMAGES)


async def remove(api: Api, key: str) -> None:
    """Delete an image; glance does so at once."""
    await call(api.delete, "image", f"/v2/images/{key}")


SMOKE_TEST = SmokeTest(
    kind="image", service="glance", bound=120.0, use=use, find=find, remove=remove
)
