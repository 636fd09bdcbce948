"""What of a host goes into its backup. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
