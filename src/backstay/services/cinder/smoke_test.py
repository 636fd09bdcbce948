"""A volume: make, wait until it is available, delete."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backstay.services.cinder import VOLUMES
from backstay.services.cinder.records import VolumeAnswer
from backstay.services.declaration import Api
from backstay.services.smoke_test import (
    Named,
    SmokeTest,
    SmokeTestFailed,
    ask,
    call,
    create,
    gone,
    named,
    until,
)

BOUND = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMade:
    """The answer to making a volume."""

    volume: Named


async def use(api: Api, name: str) -> str:
    """Make a volume of 1 GiB."""
    body = {"volume": {"name": name, "size": 1, "metadata": {"made-by": "backstay check --deep"}}}
    key = (await create(api, "block-storage", "/volumes", body, VolumeMade)).volume.id

    async def available() -> str | None:
        status = await _status(api, key)
        if status.startswith("error"):
            raise SmokeTestFailed(
                f"the volume ended in status {status}",
                "read the logs of cinder-scheduler and cinder-volume (journalctl -u); "
                "openstack volume message list",
            )
        return "available" if status == "available" else None

    await until(available, bound=BOUND, what="the volume was available")
    return "1 GiB created, available, deleted"


async def find(api: Api) -> Sequence[tuple[str, str]]:
    """Return id and name of all volumes of smoke tests in this project."""
    return await named(api, replace(VOLUMES, path="/volumes"))


async def _status(api: Api, key: str) -> str:
    return (await ask(api, "block-storage", f"/volumes/{key}", VolumeAnswer)).volume.status


async def remove(api: Api, key: str) -> None:
    """Delete a volume and wait until it is gone; one that is being made cannot be deleted yet."""

    async def settled() -> str | None:
        return None if await _status(api, key) in {"creating", "downloading"} else "settled"

    await until(settled, bound=BOUND / 2, what="the volume could be deleted")
    await call(api.delete, "block-storage", f"/volumes/{key}")
    await gone(api, "block-storage", f"/volumes/{key}", bound=BOUND / 2)


SMOKE_TEST = SmokeTest(
    kind="volume", service="cinder", bound=BOUND + 30, use=use, find=find, remove=remove
)
