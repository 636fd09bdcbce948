"""What of a host goes into its backup, and what a backup holds by what it belongs to. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.backup.manifest import Entry
from backstay.backup.restorable import of_units
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.enums import Role
from backstay.services.by_host import services_on
from backstay.services.declaration import Invariant, Migrations, Service

# What makes the host itself: name, addresses, SSH identity, packages' sources, Puppet.
IDENTITY = (
    "/etc/hostname",
    "/etc/hosts",
    "/etc/machine-id",
    "/etc/ssh",
    "/etc/network",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/sysconfig/network-scripts",
    "/etc/resolv.conf",
    "/etc/fstab",
    "/etc/apt",
    "/etc/puppet",
    "/etc/puppetlabs",
    "/var/lib/puppet/ssl",
    "/etc/letsencrypt",
    "/etc/ceph",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Paths of files and folders, patterns of what is left out, databases, and commands."""

    paths: tuple[str, ...]
    followed: tuple[str, ...]
    leave_out: tuple[str, ...]
    databases: tuple[str, ...]
    exports: Mapping[str, tuple[str, ...]]
    services: tuple[str, ...]


def usual_hosts(cloud: Cloud) -> list[str]:
    """Return the hosts that are backed up when none is named."""
    return [host.name for host in cloud.with_role(Role.CONTROLLER, Role.STORAGE_PROXY)]


def selection(cloud: Cloud, host: Host, services: Sequence[Service]) -> Selection:
    """Return what a backup of ``host`` holds: its identity, the site's paths, its services' own.

    A host has a service's databases where it runs the service that keeps them.
    """
    mine = services_on(cloud, host, services)
    keeps = keeps_databases(cloud, host, services)
    databases = [
        name
        for service in services
        if cloud.has_service(service.name)
        for name in service.databases
    ]
    return Selection(
        paths=tuple(
            dict.fromkeys(
                [
                    *IDENTITY,
                    *cloud.backup.paths,
                    *(p for s in mine for p in (*s.paths, *of_units(s))),
                ]
            )
        ),
        followed=tuple(dict.fromkeys(p for s in mine for p in s.followed)),
        leave_out=tuple(dict.fromkeys(p for s in mine for p in s.leave_out)),
        databases=tuple(dict.fromkeys(databases)) if keeps else (),
        exports={name: command for s in mine for name, command in s.exports.items()},
        services=tuple(service.name for service in mine),
    )


def migrations(services: Sequence[Service]) -> dict[str, Migrations]:
    """Return how each database comes by its schema, of those of which it is declared."""
    return {name: one for service in services for name, one in service.migrations.items()}


def keeps_databases(cloud: Cloud, host: Host, services: Sequence[Service]) -> bool:
    """Return whether the database of the cloud's services is on ``host``."""
    return any(service.keeps_databases for service in services_on(cloud, host, services))


def invariants(cloud: Cloud, services: Sequence[Service]) -> list[Invariant]:
    """Return the invariants between the databases that this cloud has."""
    there = {service.name for service in services if cloud.has_service(service.name)}
    return [one for s in services for one in s.invariants if set(one.needs) <= there]


HOST = "the host itself"
OTHER = "other paths"

Contents = dict[str, dict[str, Any]]
"""By group: ``files`` (how many), ``bytes`` (theirs), ``databases`` (bytes by name)."""


def contents(
    entries: Iterable[Entry],
    services: Sequence[Service],
    exports: Mapping[str, str],
    databases: Mapping[str, int],
) -> Contents:
    """Sort a manifest's files, the services' exports (texts) and databases (bytes) into groups."""
    found: Contents = {
        name: {"files": 0, "bytes": 0, "databases": {}}
        for name in [*(service.name for service in services), HOST, OTHER]
    }

    def add(group: str, length: int) -> None:
        found[group]["files"] += 1
        found[group]["bytes"] += length

    owners = {
        path: service.name
        for service in reversed(services)
        for path in (*service.paths, *of_units(service))
    }
    owners = dict.fromkeys(IDENTITY, HOST) | owners
    for path, kind, _, _, _, length, *_ in entries:
        if kind == "f":
            add(_owner(path, owners), length)
    for service in services:
        for name in service.exports.keys() & exports.keys():
            add(service.name, len(exports[name].encode()))
        mine = {name: databases[name] for name in service.databases if name in databases}
        found[service.name]["databases"] = mine
    return {name: group for name, group in found.items() if group["files"] or group["databases"]}


def _owner(path: str, owners: Mapping[str, str]) -> str:
    """Return the group of the nearest folder that belongs to one."""
    while path not in owners:
        path = path.rpartition("/")[0]
        if not path:
            return OTHER
    return owners[path]
