"""The end of what a thread asks, however slowly the other side sends: its sockets are shut down.

Python cannot end a thread. One that waits for a socket ends when that is shut down; one that is
left behind with an open socket would read on and fill the memory. Timeouts of sockets are between
two bytes: a server that sends one byte every few seconds keeps a caller forever.
"""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator


class Deadline:
    """Ends what one thread waits for. ``outer`` is one that ends the same sockets too."""

    def __init__(self, outer: "Deadline | None" = None) -> None:
        self.passed = False
        self._outer = outer
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def watch(self, sock: socket.socket) -> None:
        """Make a connected socket one that the deadline ends; at once where it has passed."""
        if self._outer is not None:
            self._outer.watch(sock)
        # A second descriptor of the same connection: the first may be wrapped in TLS, or closed
        # and its number given to another file by the time the deadline passes.
        with contextlib.suppress(OSError), self._lock:
            same = socket.socket(fileno=os.dup(sock.fileno()))
            self._sockets.append(same)
            if self.passed:
                _shut(same)

    def end(self) -> None:
        """Say that the time has come."""
        with self._lock:
            self.passed = True
            for sock in self._sockets:
                _shut(sock)

    def close(self) -> None:
        """Let go of all sockets; those who opened them close them."""
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # When it is closed the other side gets a reset, and need not be waited for.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that reads from it wakes up, whereas close() would not wake it.
        sock.shutdown(socket.SHUT_RDWR)


_of_thread = threading.local()


@contextlib.contextmanager
def watched(ends: Deadline) -> Iterator[Deadline]:
    """Make ``ends`` the deadline of this thread within the block."""
    outer = _current()
    _of_thread.deadline = ends
    try:
        yield ends
    finally:
        _of_thread.deadline = outer
        ends.close()


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Bound what this thread asks within the block; afterwards ``passed`` says if it did."""
    ends = Deadline(_current())
    timer = threading.Timer(seconds, ends.end)
    timer.daemon = True
    timer.start()
    try:
        with watched(ends):
            yield ends
    finally:
        timer.cancel()


def watch(sock: socket.socket | None) -> None:
    """Have the deadline of this thread, if it has one, end a connected socket."""
    ends = _current()
    if ends is not None and sock is not None:
        ends.watch(sock)


def _current() -> Deadline | None:
    found: Deadline | None = getattr(_of_thread, "deadline", None)
    return found
