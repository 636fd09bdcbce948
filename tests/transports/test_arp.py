"""ARP: what is asked, and who speaks for an address."""

import socket
from typing import Any

import pytest

from backstay.access.shipping import source_of
from backstay.transports import arp

ARP_REPLY = bytes.fromhex(
    "16922a4f7b3bda3ea386253608060001080006040002da3ea38625360a4d000b16922a4f7b3b0a4d001500000000"
)
MINE = bytes.fromhex("16922a4f7b3b")


def test_who_speaks_for_an_address() -> None:
    assert arp.arp_speaker(ARP_REPLY) == ("10.77.0.11", "da:3e:a3:86:25:36")
    assert arp.arp_speaker(ARP_REPLY[:30]) == ("", "")
    request = arp.arp_frame(1, MINE, "10.77.0.21", b"\0" * 6, "10.77.0.11")
    assert arp.arp_speaker(request) == ("10.77.0.21", "16:92:2a:4f:7b:3b")
    assert request[:6] == b"\xff" * 6
    assert request[38:42] == socket.inet_aton("10.77.0.11")


def test_a_question_is_as_rfc_826_has_it() -> None:
    mine = bytes.fromhex("c2aa67c7f23c")
    packet = arp.arp_frame(1, mine, "0.0.0.0", b"\0" * 6, "10.77.0.11")
    assert packet.hex() == (
        "ffffffffffffc2aa67c7f23c08060001080006040001c2aa67c7f23c000000000000000000000a4d000b"
    )


class Wire:
    """A network on which these frames come."""

    def __init__(self, frames: list[bytes]) -> None:
        self.frames = frames

    def recv(self, _size: int) -> bytes:
        return self.frames.pop(0)


def test_two_that_answer_are_both_heard_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    second = ARP_REPLY[:22] + bytes.fromhex("525400000001") + ARP_REPLY[28:]
    mine = ARP_REPLY[:22] + MINE + ARP_REPLY[28:]
    wire = Wire([ARP_REPLY, second, mine, b"x" * 60])
    monkeypatch.setattr(
        "backstay.transports.arp.select.select",
        lambda _wires, *_: ([wire] if wire.frames else [], [], []),
    )
    found: dict[str, set[str]] = {"10.77.0.11": set(), "10.77.0.12": set()}
    arp.gather_answers(wire, MINE, found, list(found), 5.0)
    assert found == {"10.77.0.11": {"da:3e:a3:86:25:36", "52:54:00:00:00:01"}, "10.77.0.12": set()}


def test_nothing_is_waited_for_once_everybody_has_answered() -> None:
    switch, wire = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with switch, wire:
        found: dict[str, set[str]] = {"10.77.0.11": set()}
        switch.send(ARP_REPLY)
        arp.gather_answers(wire, MINE, found, ["10.77.0.11"], 3600.0)
    assert found == {"10.77.0.11": {"da:3e:a3:86:25:36"}}


def test_what_is_on_no_network_of_ours_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def who_has(device: str, addresses: list[str], source: str, _tries: int) -> dict[str, Any]:
        asked.append((device, addresses, source))
        return {address: ["52:54:00:00:00:01"] for address in addresses}

    networks = [("eth0", "192.0.2.5", 24), ("eth1", "198.51.100.5", 28)]
    monkeypatch.setattr(arp, "own_networks", lambda: networks)
    monkeypatch.setattr(arp, "who_has", who_has)
    given = ["192.0.2.5", "192.0.2.11", "198.51.100.20", "203.0.113.1", "2001:db8::1", "name"]
    assert arp.ask_own_networks(given, 2) == {"192.0.2.11": ["52:54:00:00:00:01"]}
    assert asked == [("eth0", ["192.0.2.11"], "192.0.2.5")]


def test_who_may_ask_nowhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def who_has(*_: Any) -> dict[str, Any]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(arp, "own_networks", lambda: [("eth0", "192.0.2.5", 24)])
    monkeypatch.setattr(arp, "who_has", who_has)
    with pytest.raises(PermissionError):
        arp.ask_own_networks(["192.0.2.11"], 2)
    assert arp.ask_own_networks(["203.0.113.1"], 2) == {}


def test_it_can_be_sent_to_a_host() -> None:
    namespace: dict[str, Any] = {}
    exec(source_of(arp.ask_own_networks), namespace)
    assert namespace["ask_own_networks"]([], 1) == {}
