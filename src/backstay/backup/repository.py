"""Is the repository the one that the catalogue's backups are in? One that is away is not a new one.

restic gives each repository an id. It is written down with each backup, with the place and where
its disk was mounted; and compared whenever the repository is opened, before anything is made,
changed or judged in it.
"""

from collections.abc import Sequence

from backstay.backup.catalogue import Backup, StoredIn
from backstay.backup.mounts import missing_mount, mount_of
from backstay.commands import command
from backstay.errors import BackupError
from backstay.transports.restic import Restic
from backstay.transports.restic_output import local_path, place_of


def place_named(repository: str) -> str:
    """Return where a repository is, as the catalogue has it: one spelling, no secrets. Pure."""
    path = local_path(repository)
    return str(path.absolute()) if path is not None else place_of(repository)


async def opened(restic: Restic, backups: Sequence[Backup]) -> StoredIn:
    """Open the repository for a new backup; one is made only where the catalogue has none.

    Raises BackupError where it cannot be read, where there is none although ``backups`` are in it,
    and where it is another one.
    """
    found = await restic.identity()
    if found is None:
        _refuse_new(restic.repository, backups)
        await restic.make()
        found = await restic.identity()
    else:
        await _require_same(restic, found, backups)
        await restic.unlock()
    if found is None:
        raise _none(restic.repository, backups)
    path = local_path(restic.repository)
    return StoredIn(
        id=found,
        place=place_named(restic.repository),
        mount=mount_of(path) if path is not None else "",
    )


async def require(restic: Restic, backups: Sequence[Backup]) -> str:
    """Return the id of the repository, which is the one that ``backups`` are in.

    Raises BackupError where it is not there, cannot be read or is another one: nothing that is
    found in it then says anything of them.
    """
    found = await restic.identity()
    if found is None:
        raise _none(restic.repository, backups)
    await _require_same(restic, found, backups)
    return found


async def require_holds(restic: Restic, backup: Backup, others: Sequence[Backup]) -> None:
    """Return where the repository is the one that this backup was stored in. Raises BackupError.

    ``others`` are all backups of the catalogue: an earlier version noted no id with them.
    """
    found = await require(restic, others)
    if backup.stored.id and backup.stored.id != found:
        raise BackupError(
            f"reading the backup {backup.name}",
            came_back=f"it is in another repository, which was at {backup.stored.place}; "
            f"{place_named(restic.repository)} is {found[:10]}, not {backup.stored.id[:10]}",
            remedy="name that one as `repository` under `backup`, then try again; the backup is "
            "unchanged",
        )


async def _require_same(restic: Restic, found: str, backups: Sequence[Backup]) -> None:
    stored = [backup for backup in backups if backup.snapshots]
    here = place_named(restic.repository)
    expected = {one.stored.id for one in stored if one.stored.id and one.stored.place == here}
    if found in (expected or {one.stored.id for one in stored}):
        return
    unknown = [one for one in stored if not one.stored.id]
    if not expected and (not stored or not unknown):
        return  # at a new place, where somebody has made it
    if not expected:
        there = {snapshot.id for snapshot in await restic.snapshots()}
        if any(there.intersection(one.snapshots.values()) for one in unknown):
            return
    raise _another(restic.repository, found, stored)


def _refuse_new(repository: str, backups: Sequence[Backup]) -> None:
    """Raise BackupError where no repository may be made. Pure but for where disks are mounted."""
    path = local_path(repository)
    if any(backup.snapshots for backup in backups):
        raise _none(repository, backups)
    if path is not None and (away := missing_mount(path)):
        raise BackupError(
            f"making the backup repository {place_of(repository)}",
            came_back=f"{away} is not mounted, and /etc/fstab has it",
            remedy=f"{command('mount', away)}; then try again. Nothing was made there",
        )


def _none(repository: str, backups: Sequence[Backup]) -> BackupError:
    stored = sorted(
        (backup for backup in backups if backup.snapshots), key=lambda one: one.taken_at
    )
    had = [one for one in stored if one.stored.place == place_named(repository)]
    count = "1 backup" if len(stored) == 1 else f"{len(stored)} backups"
    known = (had or stored)[-1] if stored else None
    seen = "there is no repository"
    if known is not None:
        place = known.stored.place
        where = f" at {place}" if place and not had else ""
        seen += f", and the catalogue has {count} in one{where} (the newest: {known.name})"
    path = local_path(repository)
    noted = next((one.stored.mount for one in reversed(had) if one.stored.mount), "")
    away = missing_mount(path, noted) if path is not None else ""
    if away:
        seen += f": {away} is not mounted"
    return BackupError(
        f"opening the backup repository {place_of(repository)}",
        came_back=seen,
        remedy=_remedy(repository, away, known),
    )


def _remedy(repository: str, away: str, known: Backup | None) -> str:
    if away:
        first = f"{command('mount', away)}, then try again"
    elif local_path(repository) is not None:
        first = "is its disk mounted? Is `repository` under `backup` right? Then try again"
    else:
        first = (
            "are address, bucket and path of `repository` under `backup` right, and the "
            "credentials in the environment those of that bucket? Then try again"
        )
    new = ""
    if known is not None:
        make = command("restic", "-r", place_of(repository), "init")
        new = f". If a new one is wanted at a new place, make it: {make}"
    return f"{first}. Nothing was made, and no backup was changed{new}"


def _another(repository: str, found: str, stored: Sequence[Backup]) -> BackupError:
    newest = max(stored, key=lambda one: one.taken_at)
    which = f" (that is {newest.stored.id[:10]})" if newest.stored.id else ""
    return BackupError(
        f"opening the backup repository {place_of(repository)}",
        came_back=f"it is another one, {found[:10]}, than that in which the catalogue's backups "
        f"are, such as {newest.name}{which}",
        remedy="mount the right disk there, or correct `repository` under `backup`; no backup was "
        "changed. Where those backups are gone for good: move the files of the catalogue away",
    )
