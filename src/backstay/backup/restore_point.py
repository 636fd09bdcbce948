"""Which backup a restore starts from, and what it may lose. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.backup.catalogue import Backup, State
from backstay.backup.mariadb.logs import Logs, joined
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.errors import BackupError
from backstay.quantities import duration


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


def losses(
    backup: Backup, to: RestorePoint, stream: StreamState | None, *, now: datetime
) -> list[str]:
    """Return sentences on what is lost from the databases; there is always one.

    ``stream`` is the last state of the stream of the log that continues the backup.
    """
    if to.at is not None:
        return [f"lost: what was written to the databases after {_clock(to.at)}"]
    if not to.latest:
        whole = ends(backup)
        age = duration((now - whole).total_seconds())
        more = "; --to latest replays the log that is here" if stream else ""
        return [f"lost: what was written to the databases after {_clock(whole)}, {age} ago{more}"]
    if stream is None or stream.caught_up_at is None:
        return ["up to when the log was received is not known: see backstay backup stream status"]
    if stream.rpo(now.timestamp()) == 0:
        return ["lost: nothing; the stream has received everything the database had a moment ago"]
    known = datetime.fromtimestamp(stream.caught_up_at, UTC)
    age = duration((now - known).total_seconds())
    text = (
        f"the log is known to be complete up to {_clock(known)}, {age} ago: what was written after "
    )
    text += "that may be lost"
    if stream.behind:
        text += f"; {stream.behind} bytes were missing when the server was last asked"
    if stream.doing is not StreamActivity.STREAMING and stream.error:
        text += f" (the stream since: {stream.error})"
    return [text]


def stream_of(backup: Backup, logs: Logs) -> StreamState | None:
    """Return the last state of the stream of the log that continues a backup.

    Not its state now: the host may have a new server with another log.
    """
    if not backup.facts.get("position"):
        return None
    file, _, identity = joined(backup)
    incarnation = logs.of(file, identity)
    return incarnation.state() if incarnation else None


def _clock(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
