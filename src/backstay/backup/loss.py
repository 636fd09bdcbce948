"""What a restore cannot bring back, as far as that is known. Pure."""

from datetime import UTC, datetime

from backstay.backup.catalogue import Backup
from backstay.backup.choice import RestorePoint, ends
from backstay.backup.mariadb.logs import Logs, joined
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.quantities import duration


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
