"""Removing the backups that `keep` does not hold, and the binary logs that no backup needs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from backstay.backup.catalogue import Backup, State
from backstay.backup.mariadb.logs import not_needed
from backstay.backup.place import Place
from backstay.inventory.backup import Keep

_FORGET_BOUND = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What may be removed.

    Attributes:
        backups: what `keep` does not hold.
        logs: files of binary logs that no backup needs.
        followed: by host, how many of the files that came after a backup are in a verified one.

    """

    backups: tuple[Backup, ...]
    logs: tuple[Path, ...]
    followed: Mapping[str, int]

    def among(self, backups: Collection[str], logs: Collection[str]) -> "Removal":
        """Return what of it is also among these names and paths."""
        return Removal(
            backups=tuple(backup for backup in self.backups if backup.name in backups),
            logs=tuple(file for file in self.logs if str(file) in logs),
            followed=self.followed,
        )

    def __bool__(self) -> bool:
        """Return whether there is anything to remove."""
        return bool(self.backups or self.logs or self.followed)


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
    return Removal(backups=tuple(going), logs=tuple(logs), followed=_followed(place, hosts))


def _followed(place: Place, hosts: Iterable[str]) -> dict[str, int]:
    verified = {host: place.catalogue.verified_at(host) for host in hosts}
    counts = {
        host: len(place.followed(host).before(at))
        for host, at in verified.items()
        if at is not None
    }
    return {host: count for host, count in counts.items() if count}


async def remove(place: Place, removed: Removal) -> None:
    """Remove backups, logs, and followed files that the last verified backup of a host has.

    Safe to repeat. Raises BackupError.
    """
    going = removed.backups
    for backup in going:
        place.begin(backup.name)
    if going:
        # From the catalogue first: none is listed whose data are gone.
        place.catalogue.remove([backup.name for backup in going])
        snapshots = [snapshot for backup in going for snapshot in backup.snapshots.values()]
        await place.restic().forget(snapshots, prune=True, bound=_FORGET_BOUND)
    for backup in going:
        place.end(backup.name)
    for file in removed.logs:
        file.unlink(missing_ok=True)
    for host in removed.followed:
        if (at := place.catalogue.verified_at(host)) is not None:
            place.followed(host).drop_before(at)


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
