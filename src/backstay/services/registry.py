"""All services, found by looking into this package: one folder each, and no list anywhere.

A folder is a service where its ``__init__`` declares ``SERVICE``. What else it has is found by name
and imported only when it is asked for: ``RECONCILER`` in ``reconcile.py``, ``SMOKE_TEST`` in
``smoke_test.py``. So adding a service adds one folder, and removing the folder removes the service.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from backstay import services
from backstay.services.declaration import Service

if TYPE_CHECKING:
    from backstay.services.reconciliation import Reconciler
    from backstay.services.smoke_test import SmokeTest


@cache
def all_services() -> tuple[Service, ...]:
    """Return every service, in the order in which they are started after a restore."""
    return tuple(service for service, _ in _folders())


def named(name: str) -> Service:
    """Return the service of that name. Raises KeyError where there is none."""
    return {service.name: service for service in all_services()}[name]


@cache
def all_reconcilers() -> Sequence["Reconciler"]:
    """Return every reconciler, in the order in which their mismatches are shown."""
    found: list[Reconciler] = list(_declared("reconcile", "RECONCILER"))
    return tuple(sorted(found, key=lambda each: (each.order, each.service)))


@cache
def all_smoke_tests() -> Sequence["SmokeTest"]:
    """Return every smoke test, in the order of ``all_services``."""
    return tuple(_declared("smoke_test", "SMOKE_TEST"))


@cache
def _folders() -> Sequence[tuple[Service, str]]:
    """Return every service with the full name of its package."""
    found = []
    for entry in pkgutil.iter_modules(services.__path__, f"{services.__name__}."):
        if entry.ispkg:
            service = getattr(importlib.import_module(entry.name), "SERVICE", None)
            if isinstance(service, Service):
                found.append((service, entry.name))
    return sorted(found, key=lambda each: (each[0].restore_order, each[0].name))


def _declared(module: str, name: str) -> Iterator[Any]:
    """Yield what each service that has this module declares in it under this name."""
    for _, package in _folders():
        if find_spec(f"{package}.{module}") is not None:
            yield getattr(importlib.import_module(f"{package}.{module}"), name)
