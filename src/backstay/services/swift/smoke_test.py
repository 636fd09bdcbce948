"""An object: put, get, compare, delete, in a container of its own."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from backstay.answers import BadAnswer, PathPart, read
from backstay.errors import ApiFailed
from backstay.services.declaration import Api
from backstay.services.records import unreadable
from backstay.services.resource_name import PREFIX
from backstay.services.smoke_test import SmokeTest, SmokeTestFailed, call

_MOST_PAGES = 100
SIZE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container in the listing of an account."""

    name: PathPart


async def use(api: Api, name: str) -> str:
    """Put random bytes and compare what comes back."""
    content = secrets.token_bytes(SIZE)
    await call(api.put, "object-store", f"/{name}")
    await call(api.put, "object-store", f"/{name}/trial", content)
    back = await call(api.read, "object-store", f"/{name}/trial")
    if back != content:
        raise SmokeTestFailed(
            f"the object differs when read back ({len(back)} of {SIZE} bytes)",
            "read the logs of swift-proxy and of the storage hosts' swift-object (journalctl -u)",
        )
    return "64 KiB put, read back, deleted"


async def find(api: Api) -> Sequence[tuple[str, str]]:
    """Return the names of all containers of smoke tests, twice each: the name is the key."""
    found: list[str] = []
    for _ in range(_MOST_PAGES):
        page = await _page(api, found[-1] if found else "")
        if not page or page == found:  # the end, or a server that knows no markers
            return [(name, name) for name in found]
        if set(page) & set(found):
            break
        found += page
    error = BadAnswer("could not see all containers: the pages do not end")
    raise unreadable("object-store", "/", error)


async def _page(api: Api, marker: str) -> list[str]:
    """Return the names after ``marker``: https://docs.openstack.org/swift/latest/api/pagination.html."""
    after = f"&marker={quote(marker, safe='')}" if marker else ""
    try:
        said = await call(api.read, "object-store", f"?format=json&prefix={PREFIX}{after}")
    except ApiFailed as error:
        if error.status == 404:  # the project has no account yet
            return []
        raise
    try:
        return [container.name for container in read(tuple[Container, ...], said or b"[]")]
    except BadAnswer as error:
        raise unreadable("object-store", "/", error) from error


async def remove(api: Api, key: str) -> None:
    """Delete the object, then its container; what is not there is gone."""
    await call(api.delete, "object-store", f"/{key}/trial")
    await call(api.delete, "object-store", f"/{key}")


SMOKE_TEST = SmokeTest(
    kind="object", service="swift", bound=60.0, use=use, find=find, remove=remove
)
