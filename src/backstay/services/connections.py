"""Connections of processes to ports, as the kernel of a host has them. Shipped: Python 3.6."""

import os
import socket
from pathlib import Path
from typing import Any


def unit_pids(main: int) -> list[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            except (OSError, IndexError):
                continue  # it has ended meanwhile
            children.setdefault(int(parent), []).append(int(entry.name))
    found, waiting = [], [main]
    while waiting:
        found.append(waiting.pop())
        waiting.extend(children.get(found[-1], ()))
    return found


def inodes_of(pids: list[int]) -> set[str]:
    """Return the inodes of the sockets that processes hold."""
    found = set()
    for pid in pids:
        try:
            names = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for name in names:
            try:
                target = os.readlink(str(name))  # noqa: PTH115 - Path's is newer than 3.6
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def sockets(ports: list[int]) -> dict[str, list[Any]]:
    """Return established connections to or from ``ports``, by inode.

    Each is local address and port, peer's address and port, bytes that the peer has not
    acknowledged, and how often the kernel has retransmitted the first of them.
    https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    found: dict[str, list[Any]] = {}
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net/" + name).read_text().splitlines()[1:]
        except OSError:
            continue  # a host without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] != "01":
                continue
            local, peer = endpoint(fields[1]), endpoint(fields[2])
            if local[1] in ports or peer[1] in ports:
                unsent = int(fields[4].split(":")[0], 16)
                found[fields[9]] = [*local, *peer, unsent, int(fields[6], 16)]
    return found


def endpoint(text: str) -> tuple[str, int]:
    """Return address and port of the kernel's ``0B004D0A:1628``."""
    address, port = text.split(":")
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
    raw = b"".join(words)
    if len(raw) == 16 and raw.startswith(b"\0" * 10 + b"\xff\xff"):
        raw = raw[12:]
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw), int(port, 16)
