"""Who answers for an IPv6 address? Asked by neighbour solicitation, with a raw socket: RFC 4861.

Sent to hosts too: standard library, Python 3.6.
"""

import ipaddress
import select
import socket
import struct
import subprocess
import time
from typing import Any

from backstay.transports.ping import checksum

IPV6 = 0x86DD
ICMPV6 = 58
SOLICITATION = 135
ADVERTISEMENT = 136
SOURCE_OPTION = 1
TARGET_OPTION = 2
TOGETHER = 50
"""Requests that are sent before answers are gathered."""


def who_has_v6(
    device: str, addresses: list[str], tries: int = 3, pause: float = 0.4
) -> dict[str, list[str]]:
    """Return for each IPv6 address the hardware addresses that answer on a device's network.

    The source is an address of this host: with none, a host that is just taking the address would
    give it up (RFC 4862). Otherwise as ``arp.who_has``.
    """
    found: dict[str, set[str]] = {address: set() for address in addresses}
    packed = {socket.inet_pton(socket.AF_INET6, address): address for address in addresses}
    source = own_v6(device)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV6)) as wire:
        wire.bind((device, IPV6))
        _, _, _, kind, mine = wire.getsockname()
        if kind != 1 or len(mine) != 6:
            raise OSError(device + " is no Ethernet")
        targets = list(packed)
        for start in range(0, len(targets), TOGETHER):
            part = targets[start : start + TOGETHER]
            for _ in range(tries):
                for target in part:
                    wire.send(solicitation(mine, source, target))
                gather_advertisements(wire, mine, packed, found, pause)
    return {address: sorted(macs) for address, macs in found.items()}


def gather_advertisements(
    wire: Any,  # noqa: ANN401 - a socket
    mine: bytes,
    packed: dict[bytes, str],
    found: dict[str, set[str]],
    pause: float,
) -> None:
    """Add to ``found`` who speaks for its addresses within ``pause`` seconds."""
    until = time.monotonic() + pause
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([wire], [], [], left)[0]:
            return
        target, mac = advertiser(wire.recv(2048))
        if target in packed and mac and mac != mine:
            spelled = ":".join("%02x" % byte for byte in mac)  # noqa: UP031 - Python 3.6
            found[packed[target]].add(spelled)


def solicitation(mine: bytes, source: bytes, target: bytes) -> bytes:
    """Return the Ethernet frame that asks all who may have ``target``."""
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    body = struct.pack("!BBHI", SOLICITATION, 0, 0, 0) + target
    body += struct.pack("!BB", SOURCE_OPTION, 1) + mine
    summed = checksum(source + group + struct.pack("!II", len(body), ICMPV6) + body)
    body = body[:2] + struct.pack("!H", summed) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 255) + source + group
    return b"\x33\x33" + group[12:] + mine + struct.pack("!H", IPV6) + head + body


def advertiser(frame: bytes) -> tuple[bytes, bytes]:
    """Return the address that a frame advertises, and whose hardware address; else nothing."""
    if len(frame) < 78 or frame[12:14] != struct.pack("!H", IPV6) or frame[20] != ICMPV6:
        return b"", b""
    # A hop limit of 255: it comes from this network.
    if frame[21] != 255 or frame[54] != ADVERTISEMENT:
        return b"", b""
    options = frame[78:]
    while len(options) >= 8 and options[1]:
        if options[0] == TARGET_OPTION:
            return frame[62:78], options[2:8]
        options = options[8 * options[1] :]
    return frame[62:78], frame[6:12]


def own_v6(device: str) -> bytes:
    """Return an address of this host on a device's network. Raises OSError where it has none."""
    own = [address for name, address, _ in own_networks_v6() if name == device]
    if not own:
        raise OSError(device + " has no IPv6 address")
    own.sort(key=lambda address: not address.startswith("fe80:"))
    return socket.inet_pton(socket.AF_INET6, own[0])


def own_networks_v6() -> list[tuple[str, str, int]]:
    """Return device, own address and prefix length of each IPv6 network that this host is on."""
    done = subprocess.run(
        ["ip", "-o", "-6", "addr", "show"], stdout=subprocess.PIPE, timeout=5, check=True
    )
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        words = line.split()
        own, _, length = words[3].partition("/")
        if words[1] != "lo" and "tentative" not in words:
            found.append((words[1], own, int(length or 128)))
    return found


def ask_own_networks_v6(addresses: list[str], tries: int) -> dict[str, list[str]]:
    """Return who answers for those of the IPv6 addresses that are on a network of this host.

    Left out are its own addresses and networks on which it cannot ask. Raises OSError where it may
    ask on none.
    """
    found: dict[str, list[str]] = {}
    refused = None
    networks = own_networks_v6()
    mine = {own for _, own, _ in networks}
    for device, own, length in networks:
        there = [one for one in addresses if one not in mine and is_on_network_v6(one, own, length)]
        if there:
            try:
                found.update(who_has_v6(device, there, tries))
            except OSError as error:
                refused = error
    if refused is not None and not found:
        raise refused
    return found


def is_on_network_v6(address: str, own: str, length: int) -> bool:
    """Return whether an address is on the network of another."""
    try:
        network = ipaddress.ip_network(own + "/" + str(length), strict=False)
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False
