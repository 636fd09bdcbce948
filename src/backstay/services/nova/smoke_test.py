"""An instance: boot the smallest flavour from the newest image that boots, delete it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backstay.answers import Count, Line
from backstay.services.declaration import Api
from backstay.services.nova import SERVERS, key_of
from backstay.services.resource_name import PREFIX
from backstay.services.smoke_test import (
    Named,
    NothingToTest,
    SmokeTest,
    SmokeTestFailed,
    ask,
    call,
    create,
    gone,
    named,
    until,
)

BOUND = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """A flavour: memory in MiB, processors, disk in GiB."""

    id: Line
    ram: Count
    vcpus: Count
    disk: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Named):
    """An image."""

    container_format: Line | None = None
    disk_format: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Named):
    """A network."""

    shared: bool = False
    admin_state_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet."""

    network_id: Line
    enable_dhcp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a server has failed."""

    message: Line = "no message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is being made."""

    __pydantic_config__ = {"alias_generator": key_of}  # noqa: RUF012 - as pydantic reads it

    status: Line
    host: Line | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavoursAnswer:
    """The answer of ``/flavors/detail``."""

    flavors: tuple[Flavour, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesAnswer:
    """The answer of ``/v2/images``."""

    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworksAnswer:
    """The answer of ``/v2.0/networks``."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetsAnswer:
    """The answer of ``/v2.0/subnets``."""

    subnets: tuple[Subnet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMade:
    """The answer to making a server."""

    server: Named


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """The answer of ``/servers/ID``."""

    server: Server


OWN = replace(SERVERS, path=f"/servers?name=^{PREFIX}")


async def use(api: Api, name: str) -> str:
    """Boot an instance and wait until it is active."""
    flavours = (await ask(api, "compute", "/flavors/detail", FlavoursAnswer)).flavors
    path = "/v2/images?status=active&visibility=public&sort=created_at:desc&limit=100"
    images = (await ask(api, "image", path, ImagesAnswer)).images
    networks = (await ask(api, "network", "/v2.0/networks", NetworksAnswer)).networks
    subnets = (await ask(api, "network", "/v2.0/subnets", SubnetsAnswer)).subnets
    image, flavour = choose_image(images), choose_flavour(flavours)
    network = choose_network(networks, subnets)
    body = {
        "server": {
            "name": name,
            "imageRef": image.id,
            "flavorRef": flavour.id,
            "networks": [{"uuid": network.id}] if network else [],
            "metadata": {"made-by": "backstay check --deep"},
        }
    }
    key = (await create(api, "compute", "/servers", body, ServerMade)).server.id
    host = await until(lambda: _active(api, key), bound=BOUND, what="the instance was active")
    return f"booted from {image.name} on {host}, deleted"


async def _active(api: Api, key: str) -> str | None:
    server = (await ask(api, "compute", f"/servers/{key}", ServerAnswer)).server
    if server.status == "ERROR":
        fault = server.fault.message if server.fault else "no message"
        raise SmokeTestFailed(
            f"the instance ended in status ERROR: {fault}",
            "read the logs of nova-scheduler, nova-conductor and nova-compute (journalctl -u)",
        )
    host = server.host or "a compute host"
    return host if server.status == "ACTIVE" else None


def choose_image(images: Sequence[Image]) -> Image:
    """Return the newest image that boots (``images`` is newest first). Pure."""
    parts = {"aki", "ari", "ami"}  # kernels and ramdisks are images too, and do not boot
    for image in images:
        kind = {image.container_format, image.disk_format}
        if not kind & parts and image.disk_format != "iso" and image.name:
            return image
    raise NothingToTest("there is no public image that boots")


def choose_flavour(flavours: Sequence[Flavour]) -> Flavour:
    """Return the flavour with the least memory, processors and disk. Pure."""
    if not flavours:
        raise NothingToTest("there is no flavour")
    return min(flavours, key=lambda each: (each.ram, each.vcpus, each.disk))


def choose_network(networks: Sequence[Network], subnets: Sequence[Subnet]) -> Network | None:
    """Return a network with addresses to give, a shared one before others; None if none. Pure."""
    with_addresses = {subnet.network_id for subnet in subnets if subnet.enable_dhcp}
    usable = [one for one in networks if one.id in with_addresses and one.admin_state_up]
    return min(usable, key=lambda network: not network.shared, default=None)


async def find(api: Api) -> Sequence[tuple[str, str]]:
    """Return id and name of all instances of smoke tests in this project."""
    return await named(api, OWN)


async def remove(api: Api, key: str) -> None:
    """Delete an instance and wait until it is gone."""
    await call(api.delete, "compute", f"/servers/{key}")
    await gone(api, "compute", f"/servers/{key}", bound=100.0)


SMOKE_TEST = SmokeTest(
    kind="instance", service="nova", bound=BOUND + 30, use=use, find=find, remove=remove
)
