"""What of a backup is put back on a host: which files, and who owns them. Pure."""

from collections.abc import Sequence
from typing import Any

from backstay.backup.manifest import Entry, Files
from backstay.services.declaration import Service

# They describe the machine, not what runs on it: put back on another one, or after its disks or
# network cards were exchanged, they would keep it from starting.
OF_THE_MACHINE = (
    "/etc/fstab",
    "/etc/network",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/sysconfig/network-scripts",
    "/etc/resolv.conf",
)


def paths_of(services: Sequence[Service], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what is put back of ``services``, or with no services of a whole host.

    ``more`` are paths beside those of services that belong to a whole host. What describes the
    machine itself is never put back.
    """
    named = [path for service in services for path in (*service.paths, *of_units(service))]
    return tuple(path for path in dict.fromkeys([*named, *more]) if path not in OF_THE_MACHINE)


def of_units(service: Service) -> list[str]:
    """Return where a site's own settings of a service's units stand, whatever they are.

    https://www.freedesktop.org/software/systemd/man/systemd.unit.html
    """
    names = dict.fromkeys(unit.name for unit in service.units)
    return [
        path
        for name in names
        for path in (
            f"/etc/default/{name}",
            f"/etc/sysconfig/{name}",
            f"/etc/systemd/system/{name if '.' in name else f'{name}.service'}.d",
        )
    ]


def chosen(files: Files, paths: Sequence[str]) -> Files:
    """Return those files that are ``paths`` or lie below them."""
    below = tuple(f"{path.rstrip('/')}/" for path in paths)
    entries = [e for e in files.entries if e.path in paths or e.path.startswith(below)]
    return Files(entries=entries, users=files.users, groups=files.groups)


def changed(wanted: Files, there: Files) -> list[Entry]:
    """Return the entries of ``wanted`` that are not there, or not so.

    A file of the same size and time of change is taken for the same, as backups take it. Of a
    folder its owner and its rights count, of a link its target.
    """
    now = {entry.path: _looks(entry, there) for entry in there.entries}
    return [entry for entry in wanted.entries if now.get(entry.path) != _looks(entry, wanted)]


def _looks(entry: Entry, files: Files) -> tuple[Any, ...]:
    _, kind, mode, _, _, size, when, target = entry
    if kind == "l":
        return (kind, target)
    owner = files.owner(entry)
    return (kind, mode, owner) if kind == "d" else (kind, mode, owner, size, when)
