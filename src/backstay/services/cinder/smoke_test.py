"""A volume: make, wait until it is available, delete."""

from collections.abc import Sequence

from backstay.services.declaration import Api
from backstay.services.resource_name import PREFIX
from backstay.services.smoke_test import SmokeTest, SmokeTestFailed, call, gone, until

BOUND = 120.0


async def use(api: Api, name: str) -> str:
    """Make a volume of 1 GiB."""
    body = {"volume": {"name": name, "size": 1, "metadata": {"made-by": "backstay check --deep"}}}
    made = await call(api.post, "block-storage", "/volumes", body)
    key = made["volume"]["id"]

    async def available() -> str | None:
        volume = (await call(api.get, "block-storage", f"/volumes/{key}"))["volume"]
        if volume["status"].startswith("error"):
            raise SmokeTestFailed(
                f"the volume ended in status {volume['status']}",
                "read the logs of cinder-scheduler and cinder-volume (journalctl -u); "
                "openstack volume message list",
            )
        return "available" if volume["status"] == "available" else None

    await until(available, bound=BOUND, what="the volume was available")
    return "1 GiB created, available, deleted"


async def find(api: Api) -> Sequence[tuple[str, str]]:
    """Return id and name of all volumes of smoke tests in this project."""
    answer = await call(api.get, "block-storage", "/volumes?limit=1000")
    volumes = [(volume["id"], volume.get("name") or "") for volume in answer["volumes"]]
    return [(key, name) for key, name in volumes if name.startswith(PREFIX)]


async def remove(api: Api, key: str) -> None:
    """Delete a volume and wait until it is gone; one that is being made cannot be deleted yet."""

    async def settled() -> str | None:
        volume = (await call(api.get, "block-storage", f"/volumes/{key}"))["volume"]
        return None if volume["status"] in {"creating", "downloading"} else "settled"

    await until(settled, bound=BOUND / 2, what="the volume could be deleted")
    await call(api.delete, "block-storage", f"/volumes/{key}")
    await gone(api, "block-storage", f"/volumes/{key}", bound=BOUND / 2)


SMOKE_TEST = SmokeTest(
    kind="volume", service="cinder", bound=BOUND + 30, use=use, find=find, remove=remove
)
