"""IPv6 neighbours: what is asked, and who speaks for an address; on a real link too."""

import ipaddress
import os
import shutil
import socket
import subprocess
import sys

import pytest

from backstay.access.shipping import program, source_of
from backstay.transports import arp, ndp
from backstay.transports.ping import checksum

MINE = bytes.fromhex("16922a4f7b3b")
TARGET = socket.inet_pton(socket.AF_INET6, "2001:db8::11")
SOURCE = socket.inet_pton(socket.AF_INET6, "fe80::1492:2aff:fe4f:7b3b")


def advertisement(mac: bytes, *, hops: int = 255, option: bytes | None = None) -> bytes:
    option = b"\x02\x01" + mac if option is None else option
    body = bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + TARGET + option
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([58, hops]) + TARGET + SOURCE
    return MINE + bytes.fromhex("525400000001") + b"\x86\xdd" + head + body


def test_who_speaks_for_an_address() -> None:
    mac = bytes.fromhex("da3ea3862536")
    assert ndp.advertiser(advertisement(mac)) == (TARGET, mac)
    assert ndp.advertiser(advertisement(mac, option=b""))[1] == bytes.fromhex("525400000001")
    assert ndp.advertiser(advertisement(mac, option=b"\x02\0" + mac))[0] == TARGET
    assert ndp.advertiser(advertisement(mac, hops=64)) == (b"", b""), "from another network"
    for length in range(78):
        assert ndp.advertiser(advertisement(mac)[:length]) == (b"", b"")


def test_a_question_is_as_rfc_4861_has_it() -> None:
    frame = ndp.solicitation(MINE, SOURCE, TARGET)
    assert frame[:6] == bytes.fromhex("3333ff000011")
    assert frame[21] == 255
    assert str(ipaddress.ip_address(frame[38:54])) == "ff02::1:ff00:11"
    assert frame[54] == 135
    assert frame[62:78] == TARGET
    pseudo = frame[22:54] + len(frame[54:]).to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert checksum(pseudo + frame[54:]) == 0


def test_it_can_be_sent_to_a_host() -> None:
    namespace: dict[str, object] = {}
    exec(source_of(arp.ask_own_networks), namespace)
    assert "who_has_v6" in namespace


def test_which_network_an_address_is_on() -> None:
    assert ndp.is_on_network_v6("2001:db8::11", "2001:DB8:0::1", 64)
    assert not ndp.is_on_network_v6("2001:db8:1::11", "2001:db8::1", 64)
    assert not ndp.is_on_network_v6("not an address", "2001:db8::1", 64)


ON_A_LINK = """
set -e
ip link set lo up
ip link add left0 type veth peer name right0
unshare --net sleep 30 >/dev/null 2>&1 & other=$!
trap 'kill $other' EXIT
sleep 0.3
ip link set right0 netns $other
ip addr add 2001:db8::1/64 dev left0 nodad
ip link set left0 up
nsenter --net=/proc/$other/ns/net sh -c '
  ip link set right0 address 52:54:00:00:00:11
  ip addr add 2001:db8::11/64 dev right0 nodad
  ip link set right0 up'
until ip -6 addr show dev left0 | grep -q 2001:db8::1; do sleep 0.1; done
sleep 0.5
"$0" -I -
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"),
    reason="needs root, unshare and ip",
)
def test_a_neighbour_on_a_real_link_is_asked() -> None:
    script = program(arp.ask_own_networks, ["2001:db8::11", "2001:db8::12"], 2)
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", ON_A_LINK, sys.executable],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Operation not permitted" in done.stderr or "not supported" in done.stderr:
        pytest.skip("this machine makes no network of its own")
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{"2001:db8::11": ["52:54:00:00:00:11"], "2001:db8::12": []}'
