"""The state of a stream, written once a second into one small file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from backstay.answers import Count, Line, Seconds, read
from backstay.backup.mariadb.binlog_file import number
from backstay.clock import SLACK

_LARGEST = 1 << 20
FRESH = 5.0
"""Seconds after which the last state of a stream is stale."""


class StreamActivity(StrEnum):
    """What a stream is doing."""

    STREAMING = "streaming"
    CONNECTING = "connecting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """The state of a stream. Times are Unix seconds of this machine's clock.

    ``begun_at`` is when the server's log, this incarnation of it, was first received.
    ``file`` and ``received`` are the newest file that is here and its bytes, ``source_file`` and
    ``source_position`` what the server had when it was last asked, at ``asked_at``. ``behind`` are
    the bytes that it had then and that are not here. ``caught_up_at`` is the last instant up to
    which everything that the server had is known to be here. ``error`` says why it is not
    streaming, ``note`` what was found when it connected.
    """

    host: str
    doing: StreamActivity
    begun_at: Seconds
    written_at: Seconds
    incarnation: Count = 0
    file: Line = ""
    received: Count = 0
    source_file: Line = ""
    source_position: Count = 0
    behind: Count | None = None
    caught_up_at: Seconds | None = None
    asked_at: Seconds | None = None
    error: str = ""
    remedy: str = ""
    note: str = ""

    def rpo(self, now: float) -> float | None:
        """Return how many seconds of changes would be lost with the server now.

        0 where it streams and everything that the server had at the last question is here, and that
        was just now; None where it was never seen to be so.
        """
        just_now = self.asked_at is not None and -SLACK <= now - self.asked_at <= FRESH
        if self.doing is StreamActivity.STREAMING and self.behind == 0 and just_now:
            return 0.0
        return None if self.caught_up_at is None else max(now - self.caught_up_at, 0.0)

    def behind_for(self, now: float) -> float:
        """Return for how many seconds it has not been seen to have everything."""
        rpo = self.rpo(now)
        return now - self.begun_at if rpo is None else rpo

    def text(self) -> str:
        """Return it as the file has it."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, text: bytes) -> "StreamState":
        """Read a file's text. Raises BadAnswer where it is not one."""
        return read(cls, text, most=_LARGEST)


def behind(server: Sequence[tuple[str, int]], here: Mapping[str, int]) -> int:
    """Return how many bytes of the server's files, in order with their sizes, are not here.

    What the server has from before the first file that is here does not count.
    """
    names = [name for name, _ in server]
    first = next((names.index(name) for name in here if name in names), 0)
    return sum(max(size - here.get(name, 0), 0) for name, size in server[first:])


def reaches(here: dict[str, int], file: str, size: int) -> bool:
    """Return whether what is here, sizes in order, goes up to ``size`` in the server's ``file``."""
    newest = next(reversed(here), None)
    if newest is None:
        return False
    return (number(newest), here[newest]) >= (number(file), size)
