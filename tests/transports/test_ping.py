"""Ping by a socket: the packet's bytes, and a real echo over the loopback interface."""

import os

import pytest

from backstay.transports import ping

RFC_EXAMPLE = bytes.fromhex("0001f203f4f5f6f7")  # the example of RFC 1071, section 3


def test_checksum_of_the_standards_example():
    assert ping.checksum(RFC_EXAMPLE) == ~0xDDF2 & 0xFFFF


def test_a_request_with_its_checksum_sums_up_to_nothing():
    assert ping.checksum(ping.echo_request(b"\x01\x02\x03\x04")) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_loopback_answers_and_an_unused_address_does_not():
    assert ping.answers("127.0.0.1", 2.0)
    assert not ping.answers("240.0.0.1", 0.2)


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_a_reply_is_known_by_what_was_sent():
    pings = ping.Pings()
    ours = pings.send("127.0.0.2")
    assert ours is not None
    seen = {reply for _ in range(4) for reply in pings.receive(0.3)}
    pings.close()
    assert ("127.0.0.2", ours) in seen
    assert ours not in {identity for sender, identity in seen if sender != "127.0.0.2"}
