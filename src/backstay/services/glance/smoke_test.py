"""An image: upload, read back, delete."""

import hashlib
import secrets
from collections.abc import Sequence

from backstay.services.declaration import Api
from backstay.services.resource_name import PREFIX
from backstay.services.smoke_test import SmokeTest, SmokeTestFailed, call

SIZE = 1024 * 1024
_REMEDY = "read the log of glance-api (journalctl -u glance-api); is there space for images?"


async def use(api: Api, name: str) -> str:
    """Upload 1 MiB of random bytes and compare what comes back."""
    record = {
        "name": name,
        "disk_format": "raw",
        "container_format": "bare",
        "visibility": "private",
    }
    image = (await call(api.post, "image", "/v2/images", record))["id"]
    content = secrets.token_bytes(SIZE)
    await call(api.put, "image", f"/v2/images/{image}/file", content)
    status = (await call(api.get, "image", f"/v2/images/{image}"))["status"]
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
    found, path = [], "/v2/images?limit=200&sort=created_at:desc"
    while path:
        page = await call(api.get, "image", path)
        found += [(image["id"], image.get("name") or "") for image in page["images"]]
        path = page.get("next") or ""
    return [(key, name) for key, name in found if name.startswith(PREFIX)]


async def remove(api: Api, key: str) -> None:
    """Delete an image; glance does so at once."""
    await call(api.delete, "image", f"/v2/images/{key}")


SMOKE_TEST = SmokeTest(
    kind="image", service="glance", bound=120.0, use=use, find=find, remove=remove
)
