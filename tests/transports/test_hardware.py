"""Which machine is it: UUIDs in every byte order, ids that are no machine's own."""

import asyncio
import struct
import uuid

import pytest

from backstay.transports.bmc import power_of
from backstay.transports.hardware import Hardware, hardware_of, same_machine
from backstay.transports.power import hardware_behind
from backstay.transports.targets import BmcTarget
from tests.transports.redfish_board import RedfishBoard, served

HOST = "4c4c4544-0038-3110-8052-b4c04f4e3432"
OTHER = "4c4c4544-0038-3110-8052-b4c04f4e3433"


def mixed(text: str) -> str:
    """The first three parts with their bytes turned round, as SMBIOS stores them."""
    fields = struct.unpack("<IHH8s", uuid.UUID(text).bytes)
    return str(uuid.UUID(bytes=struct.pack(">IHH8s", *fields)))


def from_its_end(text: str) -> str:
    return str(uuid.UUID(bytes=uuid.UUID(text).bytes[::-1]))


@pytest.mark.parametrize(
    "spelled",
    [
        HOST,
        HOST.upper(),
        HOST.replace("-", ""),
        mixed(HOST),
        from_its_end(HOST),
        from_its_end(mixed(HOST)),
        mixed(from_its_end(HOST)),
    ],
)
def test_one_machine_in_each_spelling(spelled: str) -> None:
    assert same_machine(hardware_of(HOST), hardware_of(spelled)) is True
    assert same_machine(hardware_of(OTHER), hardware_of(spelled)) is False


@pytest.mark.parametrize(
    "none",
    [
        None,
        "",
        "Not Specified",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",
    ],
)
def test_what_is_no_machine_s_own_is_not_compared(none: str | None) -> None:
    assert hardware_of(none) == Hardware()
    assert same_machine(hardware_of(HOST), hardware_of(none)) is None
    assert same_machine(hardware_of(none), hardware_of(HOST)) is None


def test_a_serial_number_proves_and_never_refutes() -> None:
    noted = hardware_of(HOST, "J8 1R42")
    assert same_machine(noted, hardware_of(OTHER, "j8 1r42")) is True
    assert same_machine(noted, hardware_of("", "CHASSIS7")) is None
    for none in ("Default string", "To Be Filled By O.E.M.", "0123456789", "000", "None", " "):
        assert hardware_of("", none) == Hardware()
    for none in (
        "-",
        "null",
        "OEM",
        "Default",
        "S/N",
        "INVALID",
        "tbd",
        "0x00",
        "SN-1",
        "..11.1.1",
    ):
        assert same_machine(hardware_of(HOST, none), hardware_of(OTHER, none)) is False


def test_redfish_tells_it() -> None:
    board = RedfishBoard(uuid=HOST.upper(), serial="J81R42")
    with served(board) as url:
        target = BmcTarget(name="controller", url=url, username="admin", password="s3cret")
        found = asyncio.run(hardware_behind(power_of(target)))
        assert found == Hardware(uuid=HOST, serial="J81R42")
        board.uuid = board.serial = 5
        assert asyncio.run(hardware_behind(power_of(target))) == Hardware()
    assert asyncio.run(hardware_behind(power_of(target))) == Hardware(), "it does not answer"
