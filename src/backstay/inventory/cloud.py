"""cloud.yaml as typed values: what the cloud consists of."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    model_validator,
)

from backstay.inventory.account import Credentials
from backstay.inventory.backup import Backups
from backstay.inventory.bmc import Bmc, Fenced
from backstay.inventory.enums import Flavour, Role
from backstay.inventory.fields import Label, Part, name_of_length
from backstay.inventory.host_names import HostNames
from backstay.inventory.limits import Bounds, Limits
from backstay.inventory.maintenance import Maintenance, Window
from backstay.inventory.provision import ProvisionMethod
from backstay.inventory.secret import BesideFile
from backstay.inventory.watch import Watch
from backstay.transports.targets import BmcTarget, SshTarget

T = TypeVar("T")

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def _is_address(given: str) -> str:
    """Accept an IP address or a DNS name; digits and dots alone must be an IPv4 address."""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        labels = given.rstrip(".").split(".")
        if labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(f"`{given}` is neither an IP address nor a DNS name") from None
    return given


Address = Annotated[str, AfterValidator(_is_address)]
HostName = Annotated[str, name_of_length(128)]
Port = Annotated[int, Field(ge=1, le=65535)]


_JUMP = re.compile(r"(?:[\w.][\w.@-]*@)?(?:\[[0-9A-Fa-f:.]+\]|\w[\w.-]*)(?::\d{1,5})?", re.ASCII)


def _are_jumps(given: str) -> str:
    """Accept hosts on the way as ``ssh -J`` takes them: ``[USER@]HOST[:PORT]``, with commas."""
    for word in given.split(","):
        if not _JUMP.fullmatch(word) or word.startswith("-"):
            raise ValueError(f"`{word}` is not of the form [USER@]HOST[:PORT]")
    return given


class Ssh(Part):
    """How hosts are reached; what is None is as the ``ssh`` command would have it.

    ``jumps`` are bastions on the way, the first one first; ``none`` for a host that has none.
    """

    user: str | None = None
    key: BesideFile | None = None
    known_hosts: BesideFile | None = None
    port: Port | None = None
    jumps: Annotated[str, AfterValidator(_are_jumps)] | None = None


class Services(Part):
    """``without`` names services that this cloud does not have, so that they are not missed."""

    without: frozenset[str] = frozenset()


class Host(Part):
    """A server. ``spare_for`` names the hosts whose place it can take.

    ``without`` names services that the host's role has and this host has not.
    """

    address: Address
    roles: tuple[Role, ...] = Field(min_length=1)
    ssh: Ssh = Ssh()
    bmc: Bmc | None = None
    spare_for: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """Return the name under ``hosts:``."""
        return self._name


class Cloud(Part):
    """A whole cloud. ``hosts`` is in the order of the file. ``path`` is the file.

    ``fenced`` are hosts that were replaced and must stay off, by names of their own.
    """

    name: Annotated[str, name_of_length(64, words=True)] = "cloud"
    flavour: Flavour = Flavour.DEBIAN
    region: str | None = None
    interface: Literal["public", "internal", "admin"] | None = None
    credentials: Credentials
    ssh: Ssh = Ssh()
    hosts: dict[HostName, Host] = Field(min_length=1)
    fenced: dict[HostName, Fenced] = {}
    services: Services = Services()
    limits: Limits = Limits()
    bounds: Bounds = Bounds()
    windows: dict[Label, Window] = {}
    maintenance: Maintenance = Maintenance()
    backup: Backups = Backups()
    provision: dict[Label, ProvisionMethod] = {}
    watch: Watch = Watch()
    _path: Path = PrivateAttr(default=Path("cloud.yaml"))

    @model_validator(mode="after")
    def _hosts_know_their_names(self) -> Self:
        for name, host in self.hosts.items():
            host._name = name
        return self

    def model_post_init(self, context: Any) -> None:  # noqa: ANN401 - as pydantic declares it
        """Keep the place of the file: ``load`` hands it over as the validation context."""
        self._path = (context or {}).get("path", self._path)

    @property
    def path(self) -> Path:
        """Return the file that this was read from."""
        return self._path

    def host_named(self, name: str) -> Host | None:
        """Return the host that goes by ``name``, None where there is none, or more than one.

        ``name`` is a host's name here, its address, or either side's fully qualified name: services
        report hosts with or without their domain.
        """
        found = self.host_names().host_of(name)
        return None if found is None else self.hosts[found]

    def host_names(self, hostnames: Mapping[str, str] | None = None) -> HostNames:
        """Return the hosts by their names and addresses.

        ``hostnames`` adds what hosts call themselves, by their name here.
        """
        names = HostNames()
        for host in self.hosts.values():
            names.add(host.name, [host.address])
        for host_name, own in (hostnames or {}).items():
            names.claim(host_name, own)
        return names

    def with_role(self, *roles: Role) -> Sequence[Host]:
        """Return the hosts that have any of ``roles``, in the order of the file."""
        return [host for host in self.hosts.values() if set(roles) & set(host.roles)]

    def provision_of(self, host: Host) -> ProvisionMethod | None:
        """Return how a host is built: by its name, else its role, else ``default``."""
        names = (host.name, *map(str, host.roles), "default")
        return next((self.provision[name] for name in names if name in self.provision), None)

    def has_service(self, service: str, host: Host | None = None) -> bool:
        """Return whether ``without`` spares neither the cloud nor ``host`` the service."""
        return service not in self.services.without and (
            host is None or service not in host.without
        )

    def ssh_target(self, host: Host) -> SshTarget:
        """Return where and how ``host`` is reached: its own ``ssh`` over the cloud's."""
        own, common = host.ssh, self.ssh
        return SshTarget(
            name=host.name,
            address=host.address,
            port=own.port or common.port,
            user=own.user or common.user,
            key=own.key or common.key,
            known_hosts=own.known_hosts or common.known_hosts,
            jumps=own.jumps or common.jumps,
        )

    def bmc_target(self, host: Host) -> BmcTarget | None:
        """Return where and how the host's BMC is reached, None where it has none.

        Raises InventoryError where its password cannot be read.
        """
        return None if host.bmc is None else host.bmc.target(host.name)
