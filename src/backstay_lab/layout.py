"""What a lab's things are called, where they lie and which addresses they have: pure values.

Everything that a lab makes on the machine carries a name from this module, so that it can be
found again by name alone. Imported by other commands to find the lab's ``cloud.yaml``: keep the
imports light.
"""

import json
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from backstay.inventory.enums import Role

DEFAULT_NAME = "lab"
MAX_COMPUTES = 10
SLOTS = range(10)
MANAGEMENT_INTERFACE = "host0"
PROVIDER_INTERFACE = "prov0"
BMC_PORT = 8443
BMC_FOLDER = "bmc"  # in the lab folder
REGION = "RegionOne"


class Network(StrEnum):
    """The two networks of a lab; the value is the letter in the names of its interfaces."""

    MANAGEMENT = "m"
    PROVIDER = "p"


class Login(StrEnum):
    """How the operator logs in to the hosts of a lab; the value is the user.

    ``root`` straight; ``operator`` through a bastion, with sudo, and root's login is refused.
    """

    ROOT = "root"
    OPERATOR = "operator"


BASTION = "bastion"


def home() -> Path:
    """Return the folder of all labs of this machine: ``/var/lib/backstay``.

    ``BACKSTAY_LAB_HOME`` names another one.
    """
    return Path(os.environ.get("BACKSTAY_LAB_HOME", "/var/lib/backstay"))


def name_from_environment() -> str:
    """Return the lab's name where the command line has none: ``BACKSTAY_LAB``, else ``lab``."""
    return os.environ.get("BACKSTAY_LAB", DEFAULT_NAME)


def busy_bmc_file(host: str) -> str:
    """Return the name of the file that makes a host's board controller busy after orders."""
    return f"{host}.busy"


def login_from_environment() -> str | None:
    """Return the form of login where the command line has none: ``BACKSTAY_LAB_LOGIN``."""
    return os.environ.get("BACKSTAY_LAB_LOGIN") or None


def restore_policy_file(host: str) -> str:
    """Return the name of the file that stores what a board does when the mains come back."""
    return f"{host}.restore"


def is_name(text: str) -> bool:
    """Return whether a text can be a lab's name: short, lower case, safe in paths and cgroups."""
    return re.fullmatch(r"[a-z][a-z0-9-]{0,19}", text) is not None


@dataclass(frozen=True, slots=True)
class Place:
    """A host's fixed place: its name, its role and the last number of its address.

    ``role`` is None for what is no host of the cloud.
    """

    name: str
    role: Role | None
    number: int

    @property
    def manifest(self) -> str | None:
        """The name of the package list and Puppet manifest; None for a bare host."""
        if self.role in {None, Role.SPARE}:
            return None
        return "proxy" if self.role is Role.STORAGE_PROXY else str(self.role)


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab as a place: its name, its slot (which decides its addresses), its compute hosts."""

    name: str = DEFAULT_NAME
    slot: int = 0
    computes: int = 2
    login: Login = Login.ROOT

    @property
    def folder(self) -> Path:
        """Everything that belongs to this lab alone."""
        return home() / "labs" / self.name

    @property
    def cloud_file(self) -> Path:
        """The inventory that ``lab up`` writes."""
        return self.folder / "cloud.yaml"

    @property
    def openrc(self) -> Path:
        """The administrator's credentials as a POSIX shell file, mode 0600."""
        return self.openrc_of("admin")

    def openrc_of(self, user: str) -> Path:
        """Return the file with a user's credentials: ``openrc`` (admin), ``openrc-USER``."""
        return self.folder / ("openrc" if user == "admin" else f"openrc-{user}")

    @property
    def secrets_file(self) -> Path:
        """The generated secrets as YAML, mode 0600."""
        return self.folder / "secrets.yaml"

    @property
    def ssh_key(self) -> Path:
        """The operator's private key for all hosts."""
        return self.folder / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' SSH keys, generated before their first boot."""
        return self.folder / "ssh" / "known_hosts"

    @property
    def built(self) -> Path:
        """The disks of the built and seeded hosts, from which ``lab up`` starts copies."""
        return self.folder / "built"

    @property
    def management_net(self) -> str:
        """The first three numbers of the management network."""
        return f"10.{77 + 2 * self.slot}.0"

    @property
    def provider_net(self) -> str:
        """The first three numbers of the provider network."""
        return f"10.{78 + 2 * self.slot}.0"

    @property
    def nft_table(self) -> str:
        """The lab's own nftables table, family ``ip``."""
        return f"backstay_lab{self.slot}"

    def net(self, network: Network) -> str:
        """Return the first three numbers of a network."""
        return self.management_net if network is Network.MANAGEMENT else self.provider_net

    def bridge(self, network: Network) -> str:
        """Return the name of a network's bridge on the machine."""
        return f"bs{self.slot}-{'mgmt' if network is Network.MANAGEMENT else 'prov'}"

    def veth(self, place: Place, network: Network) -> str:
        """Return the name of the machine's end of a host's interface (at most 15 characters)."""
        return f"bs{self.slot}{network}-{place.number}"

    @property
    def gateway(self) -> str:
        """The machine's own (the operator's) address on the management network."""
        return f"{self.management_net}.1"

    def address(self, place: Place) -> str:
        """Return a host's management address."""
        return f"{self.management_net}.{place.number}"

    def bmc_address(self, place: Place) -> str:
        """Return the address of a host's BMC, which lives on the machine's bridge."""
        return f"{self.management_net}.{place.number + 100}"

    @property
    def places(self) -> dict[str, Place]:
        """All hosts by name, in the order in which they are shown."""
        places = [
            Place("controller", Role.CONTROLLER, 11),
            Place("proxy", Role.STORAGE_PROXY, 12),
            Place("storage1", Role.STORAGE, 13),
            *(Place(f"compute{n}", Role.COMPUTE, 20 + n) for n in range(1, self.computes + 1)),
            Place("spare1", Role.SPARE, 31),
        ]
        if self.login is Login.OPERATOR:
            places.append(Place(BASTION, None, 41))
        return {place.name: place for place in places}

    def cgroup(self, member: str) -> str:
        """Return the name of a host's cgroup in every hierarchy (or that of ``build`` work)."""
        return f"backstay-lab-{self.name}.{member}"


def layers_folder() -> Path:
    """Return the folder of the package layers, shared by all labs of the machine."""
    return home() / "layers"


def archives_folder() -> Path:
    """Return the folder of downloaded Debian packages, shared by all labs of the machine."""
    return home() / "archives"


def current_cloud_file() -> Path | None:
    """Return the ``cloud.yaml`` of the running lab; None where none is up.

    ``BACKSTAY_LAB`` names the lab; without it, it is the one that was started last. Never raises:
    an unreadable or half-written state means that a lab is not up.
    """
    which = os.environ.get("BACKSTAY_LAB", "*")
    files = [file for file in (home() / "labs").glob(f"{which}/cloud.yaml") if _is_up(file.parent)]
    return max(files, key=_written, default=None)


def _is_up(folder: Path) -> bool:
    try:
        state = json.loads((folder / "state.json").read_text())
        return is_name(folder.name) and state["phase"] == "up"
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
