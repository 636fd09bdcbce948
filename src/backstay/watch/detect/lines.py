"""A stream of bytes as lines, with bounds: a line has an end, and they come at their pace."""

from backstay.answers import BadAnswer

LINE = 2**20
"""Bytes of one line."""
SPAN = 10.0
"""Seconds over which it is counted how many lines and bytes arrive."""
BURST = 100
"""Lines that may come besides those that are due: a network that hung delivers all at once."""
LINES_OF_BYTES = 4
"""How many of the longest lines may come within the span."""


class LineReader:
    """Puts lines together from the pieces that arrive.

    ``longest`` is in bytes; ``every`` is after how many seconds a line is due.
    """

    def __init__(self, *, longest: int = LINE, every: float) -> None:
        self._longest = longest
        self._most_lines = BURST + 2 * SPAN / every
        self._parts: list[bytes] = []
        self._waiting = 0
        self._since = float("-inf")
        self._lines = self._bytes = 0

    def clear(self) -> None:
        """Forget what has no end yet: another stream begins."""
        self._parts, self._waiting = [], 0
        self._since = float("-inf")

    def feed(self, data: bytes, *, now: float) -> list[bytes]:
        """Return the lines that ``data`` completes, at ``now`` (seconds of any clock).

        Raises BadAnswer where one has no end within the bound, or where they come too fast.
        """
        self._count(data.count(b"\n"), len(data), now)
        first, *others = data.split(b"\n")
        self._parts.append(first)
        self._waiting += len(first)
        if self._waiting > self._longest:
            raise BadAnswer(f"a line of more than {self._longest} bytes")
        if not others:
            return []
        lines = [b"".join(self._parts), *others[:-1]]
        self._parts, self._waiting = [others[-1]], len(others[-1])
        return lines

    def _count(self, lines: int, size: int, now: float) -> None:
        if now - self._since > SPAN:
            self._since, self._lines, self._bytes = now, 0, 0
        self._lines += lines
        self._bytes += size
        if self._lines > self._most_lines:
            raise BadAnswer(f"more than {self._most_lines:.0f} lines within {SPAN:g} s")
        if self._bytes > LINES_OF_BYTES * self._longest:
            most = LINES_OF_BYTES * self._longest
            raise BadAnswer(f"more than {most} bytes within {SPAN:g} s")
