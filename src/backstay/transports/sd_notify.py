"""Tells this machine's systemd that the service is ready, lives, ends.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import contextlib
import os
import socket

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"


def notify(*lines: str) -> None:
    """Tell ``READY=1`` and the like; nothing where no systemd has started this process."""
    address = os.environ.get(SOCKET, "")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto("\n".join(lines).encode(), address)


def sign_of_life_every() -> float | None:
    """Return every how many seconds systemd wants ``WATCHDOG=1``, half of what it waits."""
    told = os.environ.get(WATCHDOG, "")
    return int(told) / 2e6 if told.isdigit() and int(told) else None
