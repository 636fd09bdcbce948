"""Image, flavour, network and one running instance on each compute host."""

from typing import Any

from backstay.jsondata import Json
from backstay_lab.cloud_api import REMEDY, CloudApi, await_answer
from backstay_lab.errors import LabError
from backstay_lab.guest import GuestImage

IMAGE = "tiny"
FLAVOR = "tiny"
NETWORK = "provider"
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=1"
DISK_BYTES = 1 << 20
"""The root disk is empty: the guest lives in its initramfs."""

HOST_BOUND = 180.0
"""Seconds until nova has taken a new compute host into its cell."""
ACTIVE_BOUND = 300.0
ATTEMPTS = 3
PINNED = "2.74"
"""The microversion in which an administrator names the host of a new instance:
https://docs.openstack.org/nova/latest/reference/api-microversion-history.html"""


def ensure_image(admin: CloudApi, guest: GuestImage) -> str:
    """Upload kernel, initramfs and an empty disk that refers to both; return the image's id.

    This nova accepts no disk in format ``ami``, so it is a raw one. Raises LabError.
    """
    kernel = upload(admin, f"{IMAGE}-kernel", "aki", guest.kernel.read_bytes(), {})
    initramfs = upload(admin, f"{IMAGE}-initramfs", "ari", guest.initramfs.read_bytes(), {})
    refers = {
        "kernel_id": kernel,
        "ramdisk_id": initramfs,
        "os_command_line": KERNEL_ARGUMENTS,
    }
    return upload(admin, IMAGE, "raw", bytes(DISK_BYTES), refers)


def upload(
    admin: CloudApi, name: str, disk_format: str, content: bytes, properties: dict[str, str]
) -> str:
    """Upload an image that all projects may use, unless it is there; return its id.

    ``content`` is in ``disk_format`` (aki, ari, raw). What an interrupted upload left is deleted.
    Raises LabError.
    """
    known = admin.get("image", f"/v2/images?name={name}")["images"]
    usable = [image for image in known if image["status"] == "active"]
    if usable:
        return str(usable[0]["id"])
    for in_flight in known:
        admin.call("DELETE", "image", f"/v2/images/{in_flight['id']}")
    image = {
        "name": name,
        "visibility": "public",
        "disk_format": disk_format,
        "container_format": "bare" if disk_format == "raw" else disk_format,
        **properties,
    }
    made = admin.post("image", "/v2/images", image)["id"]
    admin.call(
        "PUT",
        "image",
        f"/v2/images/{made}/file",
        data=content,
        headers={"Content-Type": "application/octet-stream"},
    )
    return str(made)


def ensure_flavor(admin: CloudApi) -> str:
    """Make the flavour: 128 MB, 1 GB, one processor; return its id. Raises LabError."""
    for flavor in admin.get("compute", "/flavors")["flavors"]:
        if flavor["name"] == FLAVOR:
            return str(flavor["id"])
    body = {"name": FLAVOR, "id": FLAVOR, "ram": 128, "disk": 1, "vcpus": 1}
    return str(admin.post("compute", "/flavors", {"flavor": body})["flavor"]["id"])


def ensure_network(admin: CloudApi, provider_net: str) -> str:
    """Make the flat network of all projects with its subnet; return the network's id.

    ``provider_net`` are the first three numbers of its addresses. Port security is off: the
    agent's protection against forged ARP does not work inside of containers. Raises LabError.
    """
    networks = admin.get("network", f"/v2.0/networks?name={NETWORK}")["networks"]
    if not networks:
        body = {
            "name": NETWORK,
            "shared": True,
            "port_security_enabled": False,
            "provider:network_type": "flat",
            "provider:physical_network": "physnet1",
        }
        networks = [admin.post("network", "/v2.0/networks", {"network": body})["network"]]
    network_id = str(networks[0]["id"])
    if not admin.get("network", f"/v2.0/subnets?network_id={network_id}")["subnets"]:
        pool = {"start": f"{provider_net}.50", "end": f"{provider_net}.99"}
        subnet = {
            "name": NETWORK,
            "network_id": network_id,
            "ip_version": 4,
            "cidr": f"{provider_net}.0/24",
            "gateway_ip": f"{provider_net}.1",
            "allocation_pools": [pool],
            "enable_dhcp": True,
        }
        admin.post("network", "/v2.0/subnets", {"subnet": subnet})
    return network_id


def await_hosts(admin: CloudApi, hosts: tuple[str, ...]) -> None:
    """Wait until nova may put instances on the hosts. Raises LabError."""

    def usable() -> bool | None:
        # Lists only hosts that are mapped to a cell, unlike the list of services.
        found = admin.get("compute", "/os-hypervisors/detail")["hypervisors"]
        up = {each["service"]["host"] for each in found if each["state"] == "up"}
        return True if up >= set(hosts) else None

    await_answer(
        usable,
        attempted=f"waiting for nova to take {', '.join(hosts)} into its cell",
        bound=HOST_BOUND,
        pause=2.0,
    )


def start_instance(
    project: CloudApi, name: str, host: str, *, image: str, flavor: str, network: str
) -> str:
    """Start to build an instance on a host unless one of that name is there; return its id."""
    known = _instances(project, name)
    for broken in (server for server in known if server["status"] == "ERROR"):
        _delete(project, broken["id"])
    alive = [server for server in known if server["status"] != "ERROR"]
    if alive:
        return str(alive[0]["id"])
    body = {
        "name": name,
        "imageRef": image,
        "flavorRef": flavor,
        "networks": [{"uuid": network}],
        "host": host,
    }
    made = project.post("compute", "/servers", {"server": body}, microversion=PINNED)
    return str(made["server"]["id"])


def await_instance(project: CloudApi, server_id: str) -> dict[str, str]:
    """Wait until an instance is ACTIVE; return ``{id, name, host, address}``. Raises LabError."""

    def built() -> Json:
        server = project.get("compute", f"/servers/{server_id}")["server"]
        return server if server["status"] in ("ACTIVE", "ERROR") else None

    server = await_answer(
        built, attempted=f"waiting for instance {server_id} to run", bound=ACTIVE_BOUND, pause=2.0
    )
    if server["status"] == "ERROR":
        raise LabError(
            f"building instance {server['name']}",
            came_back=str(server.get("fault", {}).get("message", "nova gives no reason")),
            remedy=REMEDY,
        )
    addresses = [a["addr"] for net in server["addresses"].values() for a in net]
    return {
        "id": server["id"],
        "name": server["name"],
        "host": server["OS-EXT-SRV-ATTR:host"],
        "address": addresses[0],
    }


def build_instance(
    project: CloudApi, name: str, host: str, *, image: str, flavor: str, network: str
) -> dict[str, str]:
    """Build an instance, trying again where nova gives up: agents may still be settling."""
    for attempt in range(1, ATTEMPTS + 1):
        server_id = start_instance(project, name, host, image=image, flavor=flavor, network=network)
        try:
            return await_instance(project, server_id)
        except LabError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _instances(project: CloudApi, name: str) -> list[dict[str, Any]]:
    found = project.get("compute", f"/servers/detail?name=^{name}$")["servers"]
    return [server for server in found if server["name"] == name]


def _delete(project: CloudApi, server_id: str) -> None:
    project.call("DELETE", "compute", f"/servers/{server_id}", accept=(404,))

    def gone() -> bool | None:
        path = f"/servers/{server_id}"
        return (
            True if project.call("GET", "compute", path, accept=(404,)).status_code == 404 else None
        )

    await_answer(gone, attempted=f"deleting broken instance {server_id}", bound=60.0)
