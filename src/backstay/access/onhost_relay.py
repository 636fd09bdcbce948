"""Leading standard input and output to a unix socket of the host's, as root.

A program behind the socket may ask the kernel who connects to it: that is root here, whoever has
logged in, and sshd need not be allowed to forward sockets.

This module is not imported on a host: its text is sent there (``shipping``). Python 3.6.
"""

import contextlib
import os
import select
import socket
import threading

PIECE = 1 << 16


def relay(path: str) -> None:
    """Pass on standard input to the socket, and what comes from there to standard output.

    Returns when the socket's side has closed it, or nobody reads standard output any more. Raises
    OSError where nothing takes connections there.
    """
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(path)
        threading.Thread(target=upstream, args=(there,), daemon=True).start()
        seen = select.poll()
        seen.register(there, select.POLLIN)
        seen.register(1, 0)  # its end is reported without being asked for
        while True:
            ready = dict(seen.poll())
            if 1 in ready:
                break
            data = there.recv(PIECE)
            if not data:
                break
            write_whole(data)


def upstream(there: socket.socket) -> None:
    """Pass on standard input to its end, and close that half of the socket."""
    with contextlib.suppress(OSError):  # the other direction sees it too
        while True:
            data = os.read(0, PIECE)
            if not data:
                there.shutdown(socket.SHUT_WR)
                break
            there.sendall(data)


def write_whole(data: bytes) -> None:
    """Write to standard output: the kernel may take a part at a time."""
    while data:
        data = data[os.write(1, data) :]
