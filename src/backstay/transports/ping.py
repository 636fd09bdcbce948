"""Is an address there? Asked by ICMP, with a socket: a bare Debian has no ``ping`` program.

Shipped to hosts too: standard library, Python 3.6.
"""

import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator

ECHO_REQUEST = 8
ECHO_REPLY = 0


class Pings:
    """A socket for many pings. Raises PermissionError where it may not be opened.

    Root may always; others where the kernel lets them:
    https://man7.org/linux/man-pages/man7/icmp.7.html (``ping_group_range``)
    """

    def __init__(self) -> None:
        self._raw = True
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except PermissionError:
            self._raw = False
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)

    def send(self, address: str) -> bytes | None:
        """Ask an address; return what its reply is known by, None where there is no route."""
        identity = secrets.token_bytes(4)
        try:
            self._socket.sendto(echo_request(identity), (address, 0))
        except OSError:
            return None
        return identity if self._raw else identity[2:]

    def receive(self, bound: float) -> Iterator[tuple[str, bytes]]:
        """Give the sender and the identity of the next reply to come, none after ``bound`` s."""
        if not select.select([self._socket], [], [], bound)[0]:
            return
        packet, (sender, _) = self._socket.recvfrom(1500)
        # A raw socket gets the IP header too, and everyone's packets; for others the kernel has
        # set an identifier of its own and only the sequence is ours.
        icmp = packet[(packet[0] & 0x0F) * 4 :] if self._raw else packet
        if len(icmp) >= 8 and icmp[0] == ECHO_REPLY:
            yield sender, icmp[4:8] if self._raw else icmp[6:8]

    def fileno(self) -> int:
        """Return the socket's descriptor, for those who wait for many."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def answers(address: str, bound: float = 2.0) -> bool:
    """Tell whether an IPv4 address answers one echo request within ``bound`` seconds."""
    pings = Pings()
    try:
        sent = pings.send(address)
        until = time.monotonic() + bound
        while sent is not None and time.monotonic() < until:
            if (address, sent) in pings.receive(max(0.0, until - time.monotonic())):
                return True
        return False
    finally:
        pings.close()


def echo_request(identity: bytes) -> bytes:
    """Return an ICMP echo request whose identifier and sequence are ``identity`` (4 bytes)."""
    body = identity + b"backstay"
    check = checksum(struct.pack("!BBH", ECHO_REQUEST, 0, 0) + body)
    return struct.pack("!BBH", ECHO_REQUEST, 0, check) + body


def checksum(data: bytes) -> int:
    """Return the Internet checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
