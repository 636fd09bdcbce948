"""Removing the backups that `keep` does not hold, and the binary logs that no backup needs."""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path

from backstay.backup.catalogue import Backup, State
from backstay.backup.mariadb.logs import not_needed
from backstay.backup.place import Place
from backstay.backup.repository import require
from backstay.errors import BackupError
from backstay.inventory.backup import Keep
from backstay.transports.threads import on_thread

_FORGET_BOUND = 3600.0
_READ_BOUND = 60.0
"""Seconds for reading what the catalogue and the logs' folder hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What may be removed.

    Attributes:
        backups: what `keep` does not hold.
        logs: files of binary logs that no backup needs.
        followed: by host, how many of the files that came after a backup are in a verified one.
        left: names of backups that a prune has taken out of the catalogue, and not yet out of the
            repository: it was interrupted, or failed there.

    """

    backups: tuple[Backup, ...]
    logs: tuple[Path, ...]
    followed: Mapping[str, int]
    left: tuple[str, ...] = ()

    def among(self, backups: Collection[str], logs: Collection[str]) -> "Removal":
        """Return what of it is also among these names and paths."""
        return Removal(
            backups=tuple(backup for backup in self.backups if backup.name in backups),
            logs=tuple(file for file in self.logs if str(file) in logs),
            followed=self.followed,
            left=self.left,
        )

    def stored_in(self, repository: str) -> "Removal":
        """Return what of it is in the repository of this id, or may be: others cannot be reached.

        So they stay in the catalogue, too.
        """
        return replace(
            self,
            backups=tuple(one for one in self.backups if one.stored.id in {"", repository}),
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all backups of which data are to be removed."""
        return (*(backup.name for backup in self.backups), *self.left)

    def __bool__(self) -> bool:
        """Return whether there is anything to remove."""
        return bool(self.backups or self.logs or self.followed or self.left)


def removal(place: Place, keep: Keep) -> Removal:
    """Return what ``keep`` does not hold now. It blocks. Raises BackupError."""
    backups = place.catalogue.backups()
    hosts = sorted({backup.host for backup in backups})
    going: list[Backup] = []
    for host in hosts:
        going += to_forget([backup for backup in backups if backup.host == host], keep)
    logs: list[Path] = []
    for host in hosts:
        staying = [backup for backup in backups if backup.host == host and backup not in going]
        logs += not_needed(place.logs(host).incarnations(), staying)
    listed = {backup.name for backup in backups}
    return Removal(
        backups=tuple(going),
        logs=tuple(logs),
        followed=_followed(place, hosts),
        left=tuple(sorted(place.removing() - listed)),
    )


def _followed(place: Place, hosts: Iterable[str]) -> dict[str, int]:
    verified = {host: place.catalogue.verified_at(host) for host in hosts}
    counts = {
        host: len(place.followed(host).before(at))
        for host, at in verified.items()
        if at is not None
    }
    return {host: count for host, count in counts.items() if count}


async def prune(place: Place, keep: Keep, named: Mapping[str, Collection[str]]) -> Removal:
    """Remove what ``keep`` does not hold now, and return what that was.

    ``named`` are the ``backups`` and ``logs`` to choose from, empty for all: what an operator has
    confirmed, without what is needed by now. Safe to repeat. Raises BackupError.
    """
    going = await on_thread(lambda: removal(place, keep), _READ_BOUND)
    if named:
        going = going.among(named["backups"], named["logs"])
    if going.backups or going.left:
        # Before anything is removed: the repository is there, and the one that they are in.
        found = await require(place.restic(), place.catalogue.backups())
        going = going.stored_in(found)
    await _remove(place, going)
    return going


async def _remove(place: Place, removed: Removal) -> None:
    """Remove backups, logs, and followed files that the last verified backup of a host has.

    Where the repository does not let them be removed, backups that are whole in it are listed
    again.
    """
    going = removed.backups
    for backup in going:
        place.begin_removal(backup.name)
    if going or removed.left:
        # From the catalogue first: none is listed whose data are gone.
        place.catalogue.remove([backup.name for backup in going])
        snapshots = [snapshot for backup in going for snapshot in backup.snapshots.values()]
        snapshots += await _snapshots_left(place, removed.left)
        try:
            await place.restic().forget(snapshots, prune=True, bound=_FORGET_BOUND)
        except BackupError:
            await _list_again(place, going)
            raise
    for name in removed.names():
        place.end(name)
    for file in removed.logs:
        file.unlink(missing_ok=True)
    for host in removed.followed:
        if (at := place.catalogue.verified_at(host)) is not None:
            place.followed(host).drop_before(at)


async def _list_again(place: Place, backups: Sequence[Backup]) -> None:
    """Put backups back into the catalogue whose data are all in the repository still."""
    with contextlib.suppress(BackupError):
        there = {snapshot.id for snapshot in await place.restic().snapshots()}
        for backup in backups:
            if backup.snapshots and there.issuperset(backup.snapshots.values()):
                place.catalogue.write(backup)
                place.end(backup.name)


async def _snapshots_left(place: Place, left: Collection[str]) -> list[str]:
    """Return the snapshots of backups that are in the catalogue no more."""
    if not left:
        return []
    there = await place.restic().snapshots()
    return [snapshot.id for snapshot in there if snapshot.tags & set(left)]


def to_forget(backups: Sequence[Backup], keep: Keep, zone: tzinfo | None = None) -> list[Backup]:
    """Return the backups of one host that ``keep`` does not hold, never the last verified one.

    Days, weeks and months are those of ``zone``, this machine's if None. Of each the newest is
    kept that did not fail.
    """
    newest = sorted(backups, key=lambda backup: backup.taken_at, reverse=True)
    kept = {backup.name for backup in newest[: keep.last]}
    verified = [backup for backup in newest if backup.state is State.VERIFIED]
    kept |= {backup.name for backup in verified[:1]}
    sound = [backup for backup in newest if backup.state is not State.FAILED]
    for count, period in (
        (keep.daily, "%Y-%m-%d"),
        (keep.weekly, "%G-%V"),
        (keep.monthly, "%Y-%m"),
    ):
        seen: dict[str, str] = {}
        for backup in sound:
            when = datetime.fromtimestamp(backup.taken_at, zone)
            seen.setdefault(when.strftime(period), backup.name)
        kept |= set(list(seen.values())[:count])
    return [backup for backup in newest if backup.name not in kept]
