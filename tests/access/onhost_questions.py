"""What the tests of sudo ask a host: sent there as text, so of the standard library alone."""

import os
import socket
import sys
import time
from typing import Any

from backstay.access.onhost_lease import is_heard


def surroundings() -> dict[str, Any]:
    """Who acts there, and what programs would find."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "user": os.geteuid(),
        "home": os.environ.get("HOME"),
        "name": os.environ.get("LOGNAME"),
        "path": os.environ.get("PATH", "").split(":"),
        "messages": os.environ.get("LC_MESSAGES"),
        "of_sudo": [name for name in os.environ if name.startswith("SUDO_")],
        "mask": mask,
        "folder": os.getcwd(),
    }


def send_bytes(times: int) -> None:
    """Write every byte there is, many times, and something to standard error."""
    for _ in range(times):
        sys.stdout.buffer.write(bytes(range(256)) * 256)
    sys.stderr.write("written\n")


def keep(path: str) -> None:
    """Keep what comes, and whose it was."""
    with open(path, "wb") as file:
        while True:
            piece = sys.stdin.buffer.read(65536)
            if not piece:
                break
            file.write(piece)


def length_of(path: str) -> dict[str, Any]:
    """Return owner, mode and content's length, and whether it is every byte in order."""
    with open(path, "rb") as file:
        content = file.read()
    status = os.stat(path)
    right = content == bytes(range(256)) * (len(content) // 256)
    return {
        "owner": status.st_uid,
        "mode": status.st_mode & 0o777,
        "right": right,
        "size": len(content),
    }


def wait_until_unheard(path: str) -> None:
    """Say so when it works, and write a file once nobody reads what it says any more."""
    sys.stdout.write("working\n")
    sys.stdout.flush()
    while is_heard():
        time.sleep(0.05)
    with open(path, "w") as file:
        file.write("left")


def who_connects(path: str) -> None:
    """Listen at a socket, and tell each who connects which user that is; until nobody reads."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        os.chmod(path, 0o666)
        listening.listen(5)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        connection, _ = listening.accept()
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        connection.sendall(b"%d" % int.from_bytes(peer[4:8], "little"))
        connection.close()
