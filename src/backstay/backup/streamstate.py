"""What a stream tells of itself, once a second, in one small file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

FRESH = 5.0
"""Seconds after which what a stream told last is no news any more."""


class Doing(StrEnum):
    """What a stream is doing."""

    STREAMING = "streaming"
    CONNECTING = "connecting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """What a stream tells. Times are Unix seconds of this machine's clock.

    ``file`` and ``received`` are the newest file that is here and its bytes, ``source_file`` and
    ``source_position`` what the server had when it was last asked, at ``asked_at``. ``behind`` are
    the bytes that it had then and that are not here. ``caught_up_at`` is the last instant up to
    which everything that the server had is known to be here. ``error`` says why it is not
    streaming, ``note`` what was found when it connected.
    """

    host: str
    doing: Doing
    written_at: float
    incarnation: int = 0
    file: str = ""
    received: int = 0
    source_file: str = ""
    source_position: int = 0
    behind: int | None = None
    caught_up_at: float | None = None
    asked_at: float | None = None
    error: str = ""
    remedy: str = ""
    note: str = ""

    def rpo(self, now: float) -> float | None:
        """Return how many seconds of changes would be lost with the server now.

        0 where everything that it had at the last question is here, and that was just now; None
        where it was never seen to be so.
        """
        if self.behind == 0 and self.asked_at is not None and now - self.asked_at <= FRESH:
            return 0.0
        return None if self.caught_up_at is None else max(now - self.caught_up_at, 0.0)

    def text(self) -> str:
        """Return it as the file has it."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, text: str) -> "StreamState":
        """Read a file's text. Raises ValueError or TypeError where it is not one."""
        read = json.loads(text)
        return cls(**(read | {"doing": Doing(read["doing"])}))


def behind(server: Mapping[str, int], here: Mapping[str, int]) -> int:
    """Return how many bytes of the server's files are not here, both being sizes in order.

    What the server has from before the first file that is here does not count.
    """
    if not here:
        return sum(server.values())
    names = list(server)
    first = next((name for name in here if name in server), None)
    counted = names[names.index(first) :] if first is not None else names
    return sum(max(server[name] - here.get(name, 0), 0) for name in counted)
