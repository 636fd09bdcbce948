"""Which machine is behind a BMC? Asked before its power is switched, each time.

A wrong ``bmc`` in cloud.yaml, or a BMC's address that was given to another server since, would
power off a machine that works. The host's own ids were noted with its backup, or by the run that
is under way. ``power_actions`` compares them and switches; nothing else does.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.inventory.bmc import place_of
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Running
from backstay.transports.hardware import Hardware, hardware_of, same_machine
from backstay.transports.power import Power, hardware_behind
from backstay.transports.threads import on_thread
from backstay.transports.urls import one_spelling

RESOLVE_BOUND = 2.0
"""Seconds for the names of all BMCs."""

Noted = Callable[[CloudSession, Running], Hardware]


class AnotherMachine(BackstayError):
    """A BMC is that of another machine than the one whose power is to be switched."""


def noted_with_backup(site: CloudSession, running: Running) -> Hardware:
    """Return the ids that the lost host gave when its backup was taken; none where it gave none."""
    name = str(running.plan.settings.get("backup") or "")
    if not name:
        return Hardware()
    try:
        return _ids_of(Place(site.cloud).catalogue.named(name).machine)
    except BackstayError:
        return Hardware()


def noted_with_newest_backup(cloud: Cloud, host: str) -> Hardware:
    """Return the ids that a host gave when its newest backup was taken; none where it gave none."""
    try:
        found, _ = Place(cloud).catalogue.readable(host=host)
    except BackstayError:
        return Hardware()
    return _ids_of(found[0].machine) if found else Hardware()


def _ids_of(machine: Mapping[str, Any]) -> Hardware:
    return hardware_of(str(machine.get("uuid", "")), str(machine.get("serial", "")))


async def require_same(power: Power, noted: Hardware, *, name: str, url: str) -> Hardware:
    """Return the ids of the machine behind a BMC. Raises AnotherMachine where it is another's.

    Where either side gives none they are not compared (``describe`` says so).
    """
    found = await hardware_behind(power)
    if same_machine(noted, found) is False:
        raise AnotherMachine(
            f"switching the power of {name}",
            came_back=f"the machine behind its BMC has the {found}, {name} has the {noted}",
            remedy=f"correct `bmc` of {name} in cloud.yaml: {url} is that of another machine, "
            "which was left alone",
        )
    return found


async def require_own_bmc(cloud: Cloud, name: str) -> None:
    """Return if no other host has the BMC of ``name``, as their names are resolved now.

    One address in two spellings is found where cloud.yaml is read. A name that cannot be resolved
    here is no one's. Raises AnotherMachine.
    """
    urls = {host.name: host.bmc.url for host in cloud.hosts.values() if host.bmc}
    urls |= {old: host.bmc.url for old, host in cloud.fenced.items() if host.bmc}
    places = {one: place for one, url in urls.items() if (place := place_of(url))}
    names = sorted({place.host for place in places.values()})
    try:
        found = await on_thread(lambda: {one: _resolved(one) for one in names}, RESOLVE_BOUND)
    except TimeoutError:
        return
    mine = places.get(name)
    if mine is None:
        return
    for other, place in places.items():
        same = found[place.host] & found[mine.host]
        # As if both had been named by the one address.
        if other != name and same and replace(place, host=mine.host).is_same(mine):
            raise AnotherMachine(
                f"switching the power of {name}",
                came_back=f"{other} has the same BMC, at {', '.join(sorted(same))}",
                remedy=f"correct `bmc` of {name} or of {other} in cloud.yaml; the power of "
                "neither was switched",
            )


def _resolved(name: str) -> frozenset[str]:
    try:
        return frozenset(one_spelling(str(one[4][0])) for one in socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return frozenset()


def describe(noted: Hardware, found: Hardware) -> str:
    """Return in words whether the machine behind a BMC was compared."""
    same = same_machine(noted, found)
    if same:
        return "its BMC is that of this machine"
    if not found.known:
        return "not compared which machine is behind its BMC: the BMC gives no UUID"
    return "not compared which machine is behind its BMC: the host's UUID is not noted"
