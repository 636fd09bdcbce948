"""A BMC that is busy, odd or not trusted: what it was ordered is known, what it did is asked."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from backstay.errors import PowerError, PowerOrdered
from backstay.inventory.bmc import Bmc, place_of
from backstay.transports import power
from backstay.transports.bmc import power_of
from backstay.transports.fingerprint import fingerprint_digits, shown
from backstay.transports.power import Power
from backstay.transports.targets import BmcTarget
from tests.transports.redfish_board import RedfishBoard, served


def power_at(url: str, **more: Any) -> Power:
    target = BmcTarget(name="controller", url=url, username="admin", password="s3cret", **more)
    return power_of(target)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "OFF_PAUSE", 0.01)
    monkeypatch.setattr(power, "OFF_BOUND", 60.0)


@pytest.mark.parametrize(
    "faults",
    [
        [503, 503, 503, 503],
        ["closed", "ok", "closed", "closed"],
        ["silent"],
        [401, 401],
        ["garbage", 500, 429],
        [404],
    ],
    ids=str,
)
def test_bad_answers_after_the_order_are_moments_without_an_answer(
    faults: Sequence[int | str],
) -> None:
    board = RedfishBoard(faults=faults, stays=1)
    with served(board) as url:
        asyncio.run(power_at(url).off())
    assert board.power == "Off"
    assert board.resets == ["ForceOff"], "it was taken: not sent again"


@pytest.mark.parametrize("fault", [503, "closed", 401, "garbage"])
def test_what_was_sent_is_said_where_it_answers_no_more(
    fault: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "OFF_BOUND", 0.5)
    with (
        served(RedfishBoard(faults=[fault], forever=True)) as url,
        pytest.raises(
            PowerOrdered, match="ForceOff was sent, and the power was not read"
        ) as caught,
    ):
        asyncio.run(power_at(url).off())
    assert "it may be off" in caught.value.remedy
    assert "s3cret" not in str(caught.value) + caught.value.remedy


def test_one_that_stays_between_on_and_off_was_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "OFF_BOUND", 0.5)
    board = RedfishBoard(stays=None)
    board.power = "PoweringOff"
    with served(board) as url, pytest.raises(PowerOrdered, match="neither on nor off"):
        asyncio.run(power_at(url).off())


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("busy", [503, "closed", 409])
def test_an_order_that_is_not_clear_is_given_again_while_it_is_on(
    busy: int | str, taken: bool
) -> None:
    board = RedfishBoard(busy=[busy], taken=taken)
    with served(board) as url:
        asyncio.run(power_at(url).off())
    assert board.power == "Off"
    assert set(board.resets) == {"ForceOff"}


def test_an_order_that_is_refused_was_not_sent() -> None:
    for status in (401, 403, 400):
        board = RedfishBoard(busy=[status] * 9)
        with served(board) as url, pytest.raises(PowerError) as caught:
            asyncio.run(power_at(url).off())
        assert not isinstance(caught.value, PowerOrdered)
        assert board.power == "On"


@pytest.mark.parametrize(
    ("board", "resets"),
    [
        (RedfishBoard(), ["ForceRestart"]),
        (RedfishBoard(offers=["On", "ForceOff", "PowerCycle"]), ["PowerCycle"]),
        (RedfishBoard(offers=["On", "ForceOff", "GracefulShutdown"]), ["ForceOff", "On"]),
        (RedfishBoard(offers=["On", "ForceOff"], by_info=True), ["ForceOff", "On"]),
        (RedfishBoard(offers=["On", "ForceRestart"], by_info=True), ["ForceRestart"]),
        (RedfishBoard(offers=None), ["ForceRestart"]),
        (RedfishBoard(busy=[503, 503]), ["ForceRestart"]),
        (RedfishBoard(busy=[400]), ["ForceOff", "On"]),
        (RedfishBoard(offers=["On", "ForceOff"], busy=["ok", 503, 409]), ["ForceOff", "On"]),
    ],
)
def test_a_restart_by_what_the_board_offers(board: RedfishBoard, resets: list[str]) -> None:
    with served(board) as url:
        asyncio.run(power_at(url).cycle())
    assert board.resets == resets
    assert board.power == "On" or "ForceOff" not in resets


def test_one_that_cannot_be_powered_on_again_is_said_to_be_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = RedfishBoard(offers=["ForceOff"])
    with served(board) as url:
        monkeypatch.setattr(power, "OFF_BOUND", 1.0)
        with pytest.raises(PowerOrdered, match="ForceOff was sent and came about, On") as caught:
            asyncio.run(power_at(url).cycle())
    assert caught.value.remedy.startswith("it is off: power it on by hand")


@pytest.mark.parametrize("in_body", [True, False])
@pytest.mark.parametrize("etag", ['"17"', 'W/"17"', "17"])
def test_a_change_names_the_etag_that_is_wanted(etag: str, in_body: bool) -> None:
    board = RedfishBoard(etag=etag, in_body=in_body)
    with served(board) as url:
        assert asyncio.run(power_at(url).keep_off()) == []
    assert (board.policy, board.override) == ("AlwaysOff", "Disabled")


def test_a_weak_etag_is_sent_as_a_strong_one_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = RedfishBoard(etag='"17"', in_body=True)
    plain = board.get

    def weak(path: str) -> dict[str, Any] | None:
        found = plain(path)
        return found and (found | ({"@odata.etag": 'W/"17"'} if "@odata.etag" in found else {}))

    monkeypatch.setattr(board, "get", weak)
    with served(board) as url:
        assert asyncio.run(power_at(url).keep_off()) == []


def test_a_board_with_several_systems_is_asked_for_the_one_that_is_named() -> None:
    board = RedfishBoard(systems=["Node1", "Node 2", "HGX_Baseboard_0"])
    with served(board) as url:
        with pytest.raises(PowerError, match="3 systems: Node1, Node 2, HGX") as caught:
            asyncio.run(power_at(url).off())
        assert f"{url}/redfish/v1/Systems/Node1" in caught.value.remedy
        assert board.asked == board.resets == []
        named = bmc(f"{url}/redfish/v1/Systems/Node%202/").target("controller")
        assert named.system == "Node 2"
        assert asyncio.run(power_of(named).state()) is True
        assert set(board.asked) == {"Node 2"}
        gone = bmc(f"{url}/redfish/v1/Systems/Node3").target("controller")
        with pytest.raises(PowerError, match="no system Node3: Node1, Node 2"):
            asyncio.run(power_of(gone).off())


@pytest.mark.parametrize("name", ["\ud800", "a\x1b[2J", "n" * 10_000])
def test_a_name_that_a_board_invents_is_cleaned(name: str) -> None:
    with (
        served(RedfishBoard(systems=[name, "Node1"])) as url,
        pytest.raises(PowerError, match="2 systems: ") as caught,
    ):
        asyncio.run(power_at(url).off())
    assert str(caught.value).isprintable()
    assert len(str(caught.value).encode()) < 1000


def bmc(url: str, **more: Any) -> Bmc:
    return Bmc.model_validate({"url": url, "username": "a", "password": "s3cret", **more})


def test_two_systems_of_one_board_are_two_places() -> None:
    def place(path: str) -> Any:
        return place_of(f"https://bmc.example{path}")

    one, two = place("/redfish/v1/Systems/1"), place("/redfish/v1/Systems/2/")
    assert not one.is_same(two)
    assert one.is_same(place("/redfish/v1/Systems/1/"))
    assert one.is_same(place("")), "it is not said which"
    assert one.is_same(place_of("ipmi://bmc.example"))


def certificate(folder: Path, *, days: int = 10, name: str = "localhost") -> ssl.SSLContext:
    """A factory's certificate: it has signed itself, and names a host in its subject alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=99))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    file = folder / "bmc.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize("days", [10, -1], ids=["self-signed", "expired"])
@pytest.mark.parametrize("with_ca", [False, True])
def test_a_factory_s_certificate_is_trusted_by_its_fingerprint(
    tmp_path: Path, days: int, with_ca: bool
) -> None:
    board, tls = RedfishBoard(), certificate(tmp_path, days=days)
    with served(board, tls) as url:
        more = {"ca": tmp_path / "bmc.pem"} if with_ca else {}
        with pytest.raises(PowerError, match="certificate is not trusted: ") as caught:
            asyncio.run(power_at(url, **more).off())
        assert board.asked == []
        assert (
            "under `bmc` of controller in cloud.yaml: fingerprint: SHA256:" in caught.value.remedy
        )
        digits = caught.value.remedy.partition("fingerprint: ")[2].partition(" ")[0]
        trusted = bmc(url, fingerprint=digits).target("controller")
        asyncio.run(power_of(trusted).off())
        assert board.power == "Off"
        other = certificate_of_another(digits)
        asked = len(board.asked)
        with pytest.raises(PowerError, match="presents another certificate") as refused:
            asyncio.run(power_at(url, fingerprint=other).state())
        assert digits in str(refused.value)
        assert len(board.asked) == asked, "nothing was sent to it"


def certificate_of_another(digits: str) -> str:
    plain = fingerprint_digits(digits)
    return ("0" if plain[0] != "0" else "1") + plain[1:]


def test_fingerprints_in_the_spellings_of_programs() -> None:
    digits = "ab" * 32
    for given in (
        shown(digits),
        digits,
        digits.upper(),
        ":".join(["AB"] * 32),
        "SHA256 Fingerprint=" + ":".join(["AB"] * 32),
        "sha256:" + digits,
        "SHA256:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s",
        "SHA256:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=",
    ):
        assert bmc("https://b", fingerprint=given).fingerprint == digits, given
    for wrong in ("SHA256:", "md5:00", "ab:cd", digits + "00", "SHA256:" + "é" * 43):
        with contextlib.suppress(ValidationError):
            assert bmc("https://b", fingerprint=wrong).fingerprint == "", wrong
    with pytest.raises(ValidationError, match="goes with an https"):
        bmc("http://b", fingerprint=digits)
