"""Which backup a restore begins with, and what it may lose. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.backup.catalogue import Backup, State
from backstay.errors import BackupError


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePoint:
    """Up to when databases are restored: the backup's own, a time (UTC), or the latest known."""

    at: datetime | None = None
    latest: bool = False

    @property
    def replays(self) -> bool:
        """Return whether the binary log is replayed on top of the backup."""
        return self.latest or self.at is not None

    def document(self) -> str:
        """Return it as a text for a plan: empty, ``latest``, or the time in ISO 8601."""
        return "latest" if self.latest else self.at.isoformat() if self.at else ""

    @classmethod
    def from_document(cls, text: str) -> "RestorePoint":
        """Return what ``document`` gave, or what an operator typed; a time without zone is local.

        Raises ValueError.
        """
        if text in {"", "latest"}:
            return cls(latest=bool(text))
        return cls(at=datetime.fromisoformat(text).astimezone(UTC))


def choose(backups: Sequence[Backup], host: str, to: RestorePoint, *, now: datetime) -> Backup:
    """Return the newest verified backup of ``host`` that was whole at the moment asked for.

    Raises BackupError, naming what there is.
    """
    if to.at and to.at > now:
        raise _none(host, f"{to.at.astimezone():%Y-%m-%d %H:%M:%S} is in the future", "")
    mine = [one for one in backups if one.host == host]
    before = [one for one in mine if to.at is None or ends(one) <= to.at]
    verified = [one for one in before if one.state is State.VERIFIED]
    if verified:
        return max(verified, key=lambda one: one.taken_at)
    if not mine:
        raise _none(host, "there is no backup of it", "backstay backup list")
    newest = max(before or mine, key=lambda one: one.taken_at)
    if not before:
        oldest = min(mine, key=lambda one: one.taken_at)
        raise _none(
            host,
            f"the oldest backup was taken {ends(oldest).astimezone():%Y-%m-%d %H:%M:%S}, after "
            "that time",
            "name a later time with --to",
        )
    raise _none(
        host,
        f"none is verified; the newest, {newest.name}, is `{newest.state}`",
        f"backstay backup verify {newest.name}; or take it unproved: "
        f"backstay backup restore {newest.name}",
    )


def ends(backup: Backup) -> datetime:
    """Return when the backup was whole (UTC)."""
    return datetime.fromtimestamp(backup.taken_at + backup.seconds, UTC)


def _none(host: str, came_back: str, remedy: str) -> BackupError:
    return BackupError(
        f"choosing a backup of {host} to restore", came_back=came_back, remedy=remedy
    )
