"""The inventory and the credentials that ``lab up`` writes for the operator."""

from backstay.inventory.words import Role
from backstay.lab.layout import BMC_PORT, REGION, Lab, Place
from backstay.lab.secrets import write_private


def cloud_yaml(lab: Lab) -> str:
    """Give the lab's inventory: what ``backstay`` commands read as ``cloud.yaml``."""
    head = [
        f"name: {lab.name}",
        "flavour: debian",
        f"region: {REGION}",
        "credentials:",
        "  openrc: openrc",
        "ssh:",
        "  user: root",
        "  key: ssh/id_ed25519",
        "  known_hosts: ssh/known_hosts",
        "hosts:",
    ]
    lines = [line for place in lab.places.values() for line in _host(lab, place)]
    return "\n".join([*head, *lines, ""])


def _host(lab: Lab, place: Place) -> list[str]:
    spare_for = ["    spare_for: [controller, proxy]"] if place.role is Role.SPARE else []
    url = f"https://{lab.bmc_address(place)}:{BMC_PORT}"
    return [
        f"  {place.name}:",
        f"    address: {lab.address(place)}",
        f"    roles: [{place.role}]",
        *spare_for,
        f"    bmc: {{url: '{url}', username: admin, "
        f"password: {{file: bmc/{place.name}.password}}, ca: bmc/ca.pem}}",
    ]


def openrc(lab: Lab, admin_password: str) -> str:
    """Give the administrator's credentials as a file for ``.`` in any POSIX shell."""
    controller = lab.address(lab.places["controller"])
    settings = {
        "OS_AUTH_URL": f"http://{controller}:5000/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": admin_password,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_AUTH_VERSION": "3",
    }
    return "".join(f"export {key}='{value}'\n" for key, value in settings.items())


def write(lab: Lab, admin_password: str) -> None:
    """Write both files into the lab's folder; ``openrc`` is 0600."""
    write_private(lab.openrc, openrc(lab, admin_password))
    part = lab.cloud_file.with_suffix(".part")
    part.write_text(cloud_yaml(lab))
    part.rename(lab.cloud_file)
