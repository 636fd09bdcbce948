"""The inventory and the credentials that ``lab up`` writes for the operator."""

from collections.abc import Mapping

from backstay.inventory.enums import Role
from backstay_lab.build import INSIDE
from backstay_lab.files import write_private
from backstay_lab.layout import BASTION, BMC_PORT, REGION, Lab, Login, Place
from backstay_lab.seed_identity import PROJECTS


def cloud_yaml(lab: Lab) -> str:
    """Return the lab's inventory: what ``backstay`` commands read as ``cloud.yaml``."""
    head = [
        f"name: {lab.name}",
        "flavour: debian",
        f"region: {REGION}",
        "credentials:",
        "  openrc: openrc",
        "ssh:",
        f"  user: {lab.login}",
        "  key: ssh/id_ed25519",
        "  known_hosts: ssh/known_hosts",
        *_jumps(lab),
        "backup:",
        f"  paths: [{INSIDE}]",
        *_provision(),
        "hosts:",
    ]
    places = [place for place in lab.places.values() if place.role]
    lines = [line for place in places for line in _host(lab, place)]
    return "\n".join([*head, *lines, ""])


def _jumps(lab: Lab) -> list[str]:
    if lab.login is not Login.OPERATOR:
        return []
    return [f"  jumps: {lab.login}@{lab.address(lab.places[BASTION])}"]


def _provision() -> list[str]:
    """Return how hosts are built again: as ``build.apply_puppet`` has built them."""
    modules = f"{INSIDE}/modules, /usr/share/puppet/modules"
    lines = ["provision:"]
    for role, manifest in ((Role.CONTROLLER, "controller"), (Role.STORAGE_PROXY, "proxy")):
        lines += [
            f"  {role}:",
            "    puppet:",
            f"      manifest: {INSIDE}/manifests/{manifest}.pp",
            f"      modulepath: [{modules}]",
            f"      hiera: {INSIDE}/hiera.yaml",
            f"      environment: {{FACTER_backstay_role: {manifest}}}",
        ]
    return lines


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


def openrc(lab: Lab, user: str, password: str) -> str:
    """Return a user's credentials for ``.`` in a POSIX shell; the project has the user's name."""
    controller = lab.address(lab.places["controller"])
    settings = {
        "OS_AUTH_URL": f"http://{controller}:5000/v3",
        "OS_USERNAME": user,
        "OS_PASSWORD": password,
        "OS_PROJECT_NAME": user,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_AUTH_VERSION": "3",
    }
    return "".join(f"export {key}='{value}'\n" for key, value in settings.items())


def write(lab: Lab, passwords: Mapping[str, str]) -> None:
    """Write the inventory and every user's openrc (0600) into the lab's folder.

    ``passwords`` are the lab's secrets: ``admin_password``, and one for each seeded project.
    """
    for user in ("admin", *PROJECTS):
        write_private(lab.openrc_of(user), openrc(lab, user, passwords[f"{user}_password"]))
    part = lab.cloud_file.with_suffix(".part")
    part.write_text(cloud_yaml(lab))
    part.rename(lab.cloud_file)


def remove(lab: Lab) -> None:
    """Remove what ``write`` wrote."""
    for file in (lab.cloud_file, *(lab.openrc_of(user) for user in ("admin", *PROJECTS))):
        file.unlink(missing_ok=True)
