"""Releases of servers: one does not run on the data directory of another."""

from backstay.backup.mariadb import SERVER
from backstay.backup.mariadb.scratch import server_version
from backstay.errors import BackupError
from backstay.lacking import ALSO


def release_of(version: str) -> str:
    """Return ``10.11`` for ``10.11.6-MariaDB``. Pure."""
    return ".".join(version.split(".")[:2])


async def require_release(backed_up: str, attempted: str) -> None:
    """Raise BackupError where this machine's server is of another release than a backup's.

    Here its databases are made for a host that has the backup's release.
    """
    ours, wanted = release_of(await server_version()), release_of(backed_up)
    if ours != wanted:
        raise BackupError(
            attempted,
            came_back=f"the backup is of {SERVER} {wanted}, this machine has {ours or 'none'}, and "
            "the databases are made here; nothing has been started",
            remedy=f"install {SERVER} {wanted} here, or do it on a machine that has it{ALSO}",
        )
