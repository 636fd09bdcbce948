"""Can a spare take a host's place? Pure: from what both told to the reasons against it."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.backup.catalogue import Backup
from backstay.inventory.backup import Engine
from backstay.inventory.limits import Limit
from backstay.quantities import size

_LESS = 0.5
"""With less than this part of the lost host's memory its services would not run."""
_PER_PACKAGE = 3 * 1024**2
"""What a package takes on average, and its file: measured on a controller, 2.1 MiB and 0.4."""
_GROWS = 1.2
_LOADED = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of the spare. ``packages`` are names; addresses are IP addresses or names."""

    backup: Backup
    packages: Sequence[str]
    versions: Mapping[str, str]
    old_address: str
    own_address: str
    clock: Limit


def against(wanted: Wanted, told: Mapping[str, Any], *, offset: float) -> list[str]:
    """Return every reason why the spare cannot take the host's place.

    ``told`` is what it said (``onhost_spare.look``); ``offset`` is how far its clock is off.
    """
    found = [
        *_release(wanted, told),
        *_room(wanted, told),
        *_address(wanted, told),
    ]
    if told["active"]:
        found.append(f"{', '.join(told['active'])} run on it: it is no spare")
    if told["databases"]:
        found.append(f"it has databases of its own: {', '.join(told['databases'])}")
    if abs(offset) >= wanted.clock.failed:
        found.append(
            f"its clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}: "
            "tokens and leases would be refused; set it first"
        )
    if not told["apt"]:
        found.append("it has no apt-get, by which its packages could be installed")
    return found


def remarks(wanted: Wanted, told: Mapping[str, Any], *, offset: float) -> list[str]:
    """Return what is no reason against it and should be known."""
    mine, theirs = told["machine"], wanted.backup.machine
    found = []
    if theirs.get("memory") and mine["memory"] < theirs["memory"]:
        found.append(f"less memory: {size(mine['memory'])}, was {size(theirs['memory'])}")
    if wanted.clock.warning <= abs(offset) < wanted.clock.failed:
        found.append(f"its clock is {abs(offset):.1f} s off")
    if not theirs:
        found.append("the backup does not say of which release it is: judged by its packages")
    return found


def _release(wanted: Wanted, told: Mapping[str, Any]) -> list[str]:
    mine, theirs = told["machine"], wanted.backup.machine
    if not theirs:
        return _by_packages(wanted, told)
    found = []
    was = _name(theirs)
    if was != _name(mine):
        found.append(f"it runs {_name(mine)}, the host ran {was}")
    if mine["architecture"] != theirs["architecture"]:
        found.append(f"it is {mine['architecture']}, the host was {theirs['architecture']}")
    if mine["memory"] < _LESS * theirs["memory"]:
        found.append(
            f"it has {size(mine['memory'])} of memory, the host had {size(theirs['memory'])}"
        )
    return found


def _name(machine: Mapping[str, Any]) -> str:
    return f"{machine['id']} {machine['codename'] or machine['release']}"


def _by_packages(wanted: Wanted, told: Mapping[str, Any]) -> list[str]:
    """Judge by the release that the basic package's version names, for older backups."""
    there = dict(line.split(" ", 1) for line in told["packages"] if " " in line)
    was, now = wanted.versions.get("base-files", ""), there.get("base-files", "")
    if was and now and was.partition(".")[0] != now.partition(".")[0]:
        return [f"it is of another release: base-files {now}, the host had {was}"]
    return []


def _room(wanted: Wanted, told: Mapping[str, Any]) -> list[str]:
    """Compare the room on each of its file systems with what will be written there."""
    backup = wanted.backup
    there = {line.partition(" ")[0] for line in told["packages"]}
    missing = sum(name not in there for name in wanted.packages)
    growth = _GROWS * (_LOADED if backup.engine is Engine.DUMP else 1)
    places = list(told["free"])
    needs = {
        "/usr": missing * _PER_PACKAGE,
        "/var/lib": int(backup.sizes.get("files", 0) * _GROWS),
        places[-1]: int(backup.sizes.get("database", 0) * growth),
    }
    by_device: dict[int, int] = {}
    for place, need in needs.items():
        device = told["free"][place][0]
        by_device[device] = by_device.get(device, 0) + need
    found = []
    for device, need in by_device.items():
        place, free = next((p, f) for p, (d, f) in told["free"].items() if d == device)
        if free < need:
            found.append(f"{place} has only {size(free)} free, about {size(need)} are needed")
    return found


def _address(wanted: Wanted, told: Mapping[str, Any]) -> list[str]:
    """See that the old address belongs where the spare is: nobody would find it elsewhere."""
    networks = [
        ipaddress.ip_interface(address) for _, address in told["addresses"] if "/" in address
    ]
    own = [one for one in networks if str(one.ip) == wanted.own_address]
    try:
        old = ipaddress.ip_address(wanted.old_address)
    except ValueError:
        return [f"the address {wanted.old_address} of the host is not known as a number"]
    if own and not any(old in one.network for one in own):
        return [f"it is on {own[0].network}, the host's address {old} is not of that network"]
    return []
