"""Which backups are kept. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo

from backstay.backup.catalogue import Backup, State
from backstay.inventory.backup import Keep


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
