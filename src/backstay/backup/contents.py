"""What a backup holds, by what it belongs to: files and databases, with their sizes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backstay.backup.files import Entry
from backstay.backup.restorable import of_units
from backstay.backup.selection import IDENTITY
from backstay.services.declaration import Service

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
