"""All services, found by looking into this package: a new service is a new file and no more.

A module that holds a service calls it ``SERVICE``.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from backstay.services.declaration import Service


@cache
def all_services() -> tuple[Service, ...]:
    """Return every service, in the order in which they are started after a restore."""
    found = []
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], "backstay.services."):
        service = getattr(importlib.import_module(module.name), "SERVICE", None)
        if isinstance(service, Service):
            found.append(service)
    return tuple(sorted(found, key=lambda service: (service.restore_order, service.name)))


def named(name: str) -> Service:
    """Return the service of that name. Raises KeyError where there is none."""
    return {service.name: service for service in all_services()}[name]
