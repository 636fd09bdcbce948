"""An instance: boot the smallest flavour from the newest image that boots, delete it."""

from collections.abc import Mapping, Sequence
from typing import Any

from backstay.services.declaration import Api
from backstay.services.resource_name import PREFIX
from backstay.services.smoke_test import (
    NothingToTest,
    SmokeTest,
    SmokeTestFailed,
    call,
    gone,
    until,
)

BOUND = 240.0


async def use(api: Api, name: str) -> str:
    """Boot an instance and wait until it is active."""
    flavours = (await call(api.get, "compute", "/flavors/detail"))["flavors"]
    path = "/v2/images?status=active&visibility=public&sort=created_at:desc&limit=100"
    images = (await call(api.get, "image", path))["images"]
    networks = (await call(api.get, "network", "/v2.0/networks"))["networks"]
    subnets = (await call(api.get, "network", "/v2.0/subnets"))["subnets"]
    image, flavour = choose_image(images), choose_flavour(flavours)
    network = choose_network(networks, subnets)
    body = {
        "server": {
            "name": name,
            "imageRef": image["id"],
            "flavorRef": flavour["id"],
            "networks": [{"uuid": network["id"]}] if network else [],
            "metadata": {"made-by": "backstay check --deep"},
        }
    }
    key = (await call(api.post, "compute", "/servers", body))["server"]["id"]
    host = await until(lambda: _active(api, key), bound=BOUND, what="the instance was active")
    return f"booted from {image['name']} on {host}, deleted"


async def _active(api: Api, key: str) -> str | None:
    server = (await call(api.get, "compute", f"/servers/{key}"))["server"]
    if server["status"] == "ERROR":
        fault = server.get("fault", {}).get("message", "no message")
        raise SmokeTestFailed(
            f"the instance ended in status ERROR: {fault}",
            "read the logs of nova-scheduler, nova-conductor and nova-compute (journalctl -u)",
        )
    host = server.get("OS-EXT-SRV-ATTR:host") or "a compute host"
    return host if server["status"] == "ACTIVE" else None


def choose_image(images: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the newest image that boots (``images`` is newest first). Pure."""
    parts = {"aki", "ari", "ami"}  # kernels and ramdisks are images too, and do not boot
    for image in images:
        kind = {image.get("container_format"), image.get("disk_format")}
        if not kind & parts and image.get("disk_format") != "iso" and image.get("name"):
            return image
    raise NothingToTest("there is no public image that boots")


def choose_flavour(flavours: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the flavour with the least memory, processors and disk. Pure."""
    if not flavours:
        raise NothingToTest("there is no flavour")
    return min(flavours, key=lambda f: (f["ram"], f["vcpus"], f["disk"]))


def choose_network(
    networks: Sequence[Mapping[str, Any]], subnets: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Return a network with addresses to give, a shared one before others; None if none. Pure."""
    with_addresses = {subnet["network_id"] for subnet in subnets if subnet.get("enable_dhcp")}
    usable = [n for n in networks if n["id"] in with_addresses and n.get("admin_state_up", True)]
    return min(usable, key=lambda n: not n.get("shared"), default=None)


async def find(api: Api) -> Sequence[tuple[str, str]]:
    """Return id and name of all instances of smoke tests in this project."""
    answer = await call(api.get, "compute", f"/servers?name=^{PREFIX}&limit=500")
    servers = [(server["id"], server.get("name") or "") for server in answer["servers"]]
    return [(key, name) for key, name in servers if name.startswith(PREFIX)]


async def remove(api: Api, key: str) -> None:
    """Delete an instance and wait until it is gone."""
    await call(api.delete, "compute", f"/servers/{key}")
    await gone(api, "compute", f"/servers/{key}", bound=100.0)


SMOKE_TEST = SmokeTest(
    kind="instance", service="nova", bound=BOUND + 30, use=use, find=find, remove=remove
)
