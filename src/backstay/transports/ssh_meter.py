"""What a host sends beside the data that was asked for, counted: SSH has messages that carry none.

A host may send as many as it likes of what is to be ignored, or to be answered, or holds one byte.
Each costs this process the time of a large one, so that all other hosts are heard late; and the
answers pile up where the host does not read them. asyncssh bounds neither.
"""

import time
from collections.abc import Callable

import asyncssh

SPAN = 10.0
"""Seconds over which it is counted."""
BESIDE = 1 << 20
"""Bytes that may come within the span beside data; each conversation may hold back some more."""
UNREAD = 64 << 20
"""Bytes that may wait for a host that does not read."""
LATE = 2 << 20
"""Bytes that may be under way when a conversation ends: its window, which nobody takes any more."""
_PER_DATA, _PER_SENT = 4, 16
_NAME = "backstay_meter"


class Meter:
    """Counts for one connection. ``outer`` is that of the jump host that it goes through."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        outer: "Meter | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._outer, self._clock = connection, outer, clock
        self._ends: dict[int, tuple[Callable[[], None], int]] = {}
        self._since = float("-inf")
        self._came = self._data = self._sent = 0
        self._late, self._late_until = 0, float("-inf")

    def begin(self, who: object, end: Callable[[], None], held: int) -> None:
        """Let a conversation begin, which may hold back so many bytes; ``end`` ends it."""
        self._ends[id(who)] = (end, held)

    def over(self, who: object) -> None:
        """Note that a conversation has ended."""
        if self._ends.pop(id(who), None) is not None:
            now = self._clock()
            self._late = LATE + (self._late if now < self._late_until else 0)
            self._late_until = now + SPAN

    def data(self, size: int) -> None:
        """Count data that has arrived where it was asked for."""
        self._begin_span()
        self._data += size

    def sent(self, size: int) -> None:
        """Count data that is sent: a host says now and then that it has taken some."""
        self._begin_span()
        self._sent += size
        if self._outer is not None:
            self._outer.sent(size)

    def came(self, size: int) -> None:
        """Count what came, when what is data in it has been counted. Ends what has no end."""
        now = self._begin_span()
        self._came += size
        if self._outer is not None:
            self._outer.data(size)
        held = sum(one[1] for one in self._ends.values())
        held += self._late if now < self._late_until else 0
        allowed = BESIDE + held + self._data // _PER_DATA + self._sent // _PER_SENT
        if self._came - self._data > allowed or unsent(self._connection) > UNREAD:
            for end, _ in list(self._ends.values()):
                end()
            self._connection._force_close(
                asyncssh.ProtocolError("it sends messages that carry no data, without end")
            )

    def _begin_span(self) -> float:
        """Begin to count anew where that is due; return the time."""
        now = self._clock()
        if now - self._since > SPAN:
            self._since, self._came, self._data, self._sent = now, 0, 0, 0
        return now


def measure(
    connection: asyncssh.SSHClientConnection, through: asyncssh.SSHClientConnection | None
) -> None:
    """Count what comes on a connection that has just been made, from its first byte on."""
    meter = Meter(connection, None if through is None else meter_of(through))
    take = connection.data_received

    def received(data: bytes, datatype: int | None = None) -> None:
        take(data, datatype)
        meter.came(len(data))

    connection.data_received = received  # type: ignore[method-assign]
    connection.set_extra_info(**{_NAME: meter})


def meter_of(connection: asyncssh.SSHClientConnection) -> Meter | None:
    """Return the meter of a connection, None where it is not counted."""
    found: Meter | None = connection.get_extra_info(_NAME)
    return found


def unsent(connection: asyncssh.SSHClientConnection) -> int:
    """Return how many bytes the connection holds that the host's machine has not taken."""
    # asyncssh does not pass on what its transport says of it.
    transport = getattr(connection, "_transport", None)
    size = getattr(transport, "get_write_buffer_size", None)
    return int(size()) if size is not None else 0
