"""Releases of servers: one does not run on the data directory of another."""

from collections.abc import Mapping

from backstay.backup.mariadb import SERVER
from backstay.backup.mariadb.scratch import server_version
from backstay.errors import BackupError
from backstay.lacking import ALSO


def release_of(version: str) -> str:
    """Return ``10.11`` for ``10.11.6-MariaDB``. Pure."""
    return ".".join(version.split(".")[:2])


def other_releases(backed_up: str, servers: Mapping[str, str]) -> list[str]:
    """Return a sentence for each server, by its name, of another release than a backup's. Pure.

    ``backed_up`` and ``servers`` are versions, empty where there is none.
    """
    wanted = release_of(backed_up)
    return [
        f"the backup is of {SERVER} {wanted}, {name} has {release_of(version) or 'none'}"
        for name, version in servers.items()
        if release_of(version) != wanted
    ]


async def require_release(backed_up: str, attempted: str) -> None:
    """Raise BackupError where this machine's server is of another release than a backup's.

    Here its databases are made for a host that has the backup's release.
    """
    found = other_releases(backed_up, {"this machine": await server_version()})
    if found:
        raise BackupError(
            attempted,
            came_back=f"{found[0]}, and the databases are made here; nothing has been started",
            remedy=f"install {SERVER} {release_of(backed_up)} here, or do it on a machine that has "
            f"it{ALSO}",
        )
