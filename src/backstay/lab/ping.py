"""Does an address answer ping? Asked with a socket: a bare Debian has no ``ping`` program."""

import secrets
import select
import socket
import struct
import time

ECHO_REQUEST = 8
ECHO_REPLY = 0


def answers(address: str, bound: float = 2.0) -> bool:
    """Tell whether an IPv4 address answers one ICMP echo request within ``bound`` seconds.

    Needs root (a raw socket), as the lab does anyway. No route counts as no answer.
    """
    identity = secrets.token_bytes(4)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.sendto(echo_request(identity), (address, 0))
            return _await_reply(raw, address, identity, bound)
    except PermissionError:
        raise
    except OSError:
        return False


def _await_reply(raw: socket.socket, address: str, identity: bytes, bound: float) -> bool:
    """Read what comes (a raw socket gets everyone's) until our reply is there or time is up."""
    deadline = time.monotonic() + bound
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([raw], [], [], left)[0]:
            return False
        packet, (sender, _) = raw.recvfrom(1500)
        if sender == address and is_reply(packet, identity):
            return True
    return False


def echo_request(identity: bytes) -> bytes:
    """Return an ICMP echo request whose identifier and sequence are ``identity`` (4 bytes)."""
    body = identity + b"backstay lab"
    check = checksum(struct.pack("!BBH", ECHO_REQUEST, 0, 0) + body)
    return struct.pack("!BBH", ECHO_REQUEST, 0, check) + body


def is_reply(packet: bytes, identity: bytes) -> bool:
    """Tell whether an IPv4 packet is the echo reply to the request with that identity."""
    icmp = packet[(packet[0] & 0x0F) * 4 :]
    return len(icmp) >= 8 and icmp[0] == ECHO_REPLY and icmp[4:8] == identity


def checksum(data: bytes) -> int:
    """Return the Internet checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
