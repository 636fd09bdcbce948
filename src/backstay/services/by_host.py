"""Which services, and which units of them, a host must run. Pure."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backstay.services.declaration import Service, Unit

if TYPE_CHECKING:  # declarations are imported for every command; pydantic would cost too much
    from backstay.inventory.cloud import Cloud, Host


def units_on(
    cloud: "Cloud", host: "Host", services: Iterable[Service]
) -> tuple[tuple[Service, Unit], ...]:
    """Return the units that ``host`` must run, each with its service, in the services' order.

    Services that cloud.yaml excludes for the cloud or for the host (``without``) are left out.
    """
    return tuple(
        (service, unit)
        for service in services
        if cloud.has_service(service.name, host)
        for unit in service.units_on(host.roles, cloud.flavour)
    )


def other_units_on(
    cloud: "Cloud", host: "Host", services: Iterable[Service]
) -> tuple[tuple[Service, Unit], ...]:
    """Return the units that ``host`` may run besides, each once, with its service."""
    found = {
        unit.name: (service, unit)
        for service in services
        if cloud.has_service(service.name, host)
        for unit in service.other_units
        if unit.role in host.roles and unit.flavour is cloud.flavour
    }
    required = {unit.name for _, unit in units_on(cloud, host, services)}
    return tuple(pair for name, pair in found.items() if name not in required)


def services_on(cloud: "Cloud", host: "Host", services: Iterable[Service]) -> list[Service]:
    """Return the services of which ``host`` must run at least one unit, in their order."""
    found = {service.name: service for service, _ in units_on(cloud, host, services)}
    return list(found.values())
