"""Who answers for an address? Asked by ARP, with a raw socket: RFC 826.

Sent to hosts too: standard library, Python 3.6.
"""

import select
import socket
import struct
import subprocess
import time
from typing import Any

from backstay.transports.ndp import ask_own_networks_v6

ARP = 0x0806
ETHERNET = 1
AT_ONCE = 50
"""Requests that are sent before answers are gathered: a switch takes that many broadcasts."""
SETTLE = 0.15
"""Seconds for a second answer once each address has one: kernels answer within milliseconds."""


def who_has(
    device: str,
    addresses: list[str],
    source: str = "0.0.0.0",  # noqa: S104 - no address
    tries: int = 3,
    pause: float = 0.4,
) -> dict[str, list[str]]:
    """Return for each IPv4 address the hardware addresses that answer on a device's network.

    Each is asked ``tries`` times, with ``pause`` seconds for its answers, or less: ``SETTLE``
    seconds after the last of them has answered. A request with the source 0.0.0.0 teaches nobody
    anything (RFC 5227). This host's own hardware address is left out. Raises OSError where
    ``device`` is no Ethernet or this user may not ask.
    """
    found: dict[str, set[str]] = {address: set() for address in addresses}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP)) as wire:
        wire.bind((device, ARP))
        _, _, _, kind, mine = wire.getsockname()
        if kind != ETHERNET or len(mine) != 6:
            raise OSError(device + " is no Ethernet")
        for start in range(0, len(addresses), AT_ONCE):
            part = addresses[start : start + AT_ONCE]
            for _ in range(tries):
                for address in part:
                    wire.send(arp_frame(1, mine, source, b"\0" * 6, address))
                gather_answers(wire, mine, found, part, pause)
    return {address: sorted(macs) for address, macs in found.items()}


def gather_answers(
    wire: Any,  # noqa: ANN401 - a socket
    mine: bytes,
    found: dict[str, set[str]],
    part: list[str],
    pause: float,
) -> None:
    """Add to ``found`` who speaks for its addresses within ``pause`` seconds.

    It ends ``SETTLE`` seconds after the last of ``part`` has spoken.
    """
    until = time.monotonic() + pause
    waiting = set(part)
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([wire], [], [], left)[0]:
            return
        frame = wire.recv(2048)
        address, mac = arp_speaker(frame)
        if address in found and mac != spelled_mac(mine):
            found[address].add(mac)
            waiting.discard(address)
        if not waiting:
            until = min(until, time.monotonic() + SETTLE)


def arp_frame(operation: int, mine: bytes, source: str, target: bytes, address: str) -> bytes:
    """Return an ARP packet to everybody on the network."""
    return b"".join(
        [
            b"\xff" * 6,
            mine,
            struct.pack("!H", ARP),
            struct.pack("!HHBBH", ETHERNET, 0x0800, 6, 4, operation),
            mine,
            socket.inet_aton(source),
            target,
            socket.inet_aton(address),
        ]
    )


def arp_speaker(frame: bytes) -> tuple[str, str]:
    """Return the address that an ARP frame's sender has, and its hardware address; else nothing."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ARP):
        return "", ""
    if frame[14:20] != struct.pack("!HHBB", ETHERNET, 0x0800, 6, 4):
        return "", ""
    return socket.inet_ntoa(frame[28:32]), spelled_mac(frame[22:28])


def spelled_mac(mac: bytes) -> str:
    """Return a hardware address as people write it: ``52:54:00:00:00:01``."""
    return ":".join(f"{byte:02x}" for byte in mac)


def own_networks() -> list[tuple[str, str, int]]:
    """Return device, own address and prefix length of each IPv4 network that this host is on."""
    done = subprocess.run(
        ["ip", "-o", "-4", "addr", "show"], stdout=subprocess.PIPE, timeout=5, check=True
    )
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        words = line.split()
        own, _, length = words[3].partition("/")
        if words[1] != "lo":
            found.append((words[1], own, int(length or 32)))
    return found


def own_macs() -> list[str]:
    """Return the hardware addresses of all of this host's interfaces."""
    done = subprocess.run(
        ["ip", "-o", "link", "show"], stdout=subprocess.PIPE, timeout=5, check=True
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    words = (line.split() for line in lines)
    return sorted(w[w.index("link/ether") + 1] for w in words if "link/ether" in w)


def ask_own_networks(addresses: list[str], tries: int) -> dict[str, list[str]]:
    """Return who answers for those of the addresses that are on a network of this host.

    IPv6 addresses are asked for by neighbour solicitation (``ndp``). Left out are its own addresses
    and networks on which it cannot ask. Raises OSError where it may ask on none.
    """
    found: dict[str, list[str]] = {}
    refused = None
    old = [address for address in addresses if ":" not in address]
    new = [address for address in addresses if ":" in address]
    for device, own, length in own_networks() if old else []:
        there = [address for address in old if is_on_network(address, own, length)]
        if there:
            try:
                found.update(who_has(device, there, own, tries))
            except OSError as error:
                refused = error
    if new:
        try:
            found.update(ask_own_networks_v6(new, tries))
        except OSError as error:
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def is_on_network(address: str, own: str, length: int) -> bool:
    """Return whether an address is on the network of another, and not that other itself."""
    try:
        there, here = (struct.unpack("!I", socket.inet_aton(one))[0] for one in (address, own))
    except OSError:
        return False
    return bool(there != here and (there ^ here) >> (32 - length) == 0)
