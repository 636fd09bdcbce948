"""Ping by a socket: the packet's bytes, and a real echo over the loopback interface."""

import os

import pytest

from backstay.lab import ping

RFC_EXAMPLE = bytes.fromhex("0001f203f4f5f6f7")  # the example of RFC 1071, section 3


def test_checksum_of_the_standards_example():
    assert ping.checksum(RFC_EXAMPLE) == ~0xDDF2 & 0xFFFF


def test_a_request_with_its_checksum_sums_up_to_nothing():
    assert ping.checksum(ping.echo_request(b"\x01\x02\x03\x04")) == 0


def test_somebody_elses_reply_is_not_ours():
    header = bytes([0x45]) + bytes(19)
    reply = header + bytes([ping.ECHO_REPLY, 0, 0, 0]) + b"mine" + b"data"
    assert ping.is_reply(reply, b"mine")
    assert not ping.is_reply(reply, b"your")
    assert not ping.is_reply(header + bytes([ping.ECHO_REQUEST, 0, 0, 0]) + b"mine", b"mine")
    assert not ping.is_reply(header, b"mine")


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_loopback_answers_and_an_unused_address_does_not():
    assert ping.answers("127.0.0.1", 2.0)
    assert not ping.answers("240.0.0.1", 0.2)
