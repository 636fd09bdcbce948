"""Dead, cut off, alive, unhealthy or unknown: from what the lab's hosts told of one of them."""

from dataclasses import replace
from typing import Any

import pytest

from backstay.health.witness.evidence import HostEvidence, Login, Port, PortState, Power, Witness
from backstay.health.witness.judge import Verdict, judge
from tests.health.witness.recorded import Recorded, seen

GONE = Witness(name="x", trouble="cannot be reached: no route to host")
SILENT = Witness(name="x", pings=False, macs=(), ports=(Port(number=22, state=PortState.SILENT),))
SEES = Witness(name="x", pings=True, macs=("aa:bb:cc:00:00:01",))


@pytest.mark.parametrize(
    ("name", "verdict", "reason", "remedy"),
    [
        ("alive", Verdict.ALIVE, "it answers", "backstay check controller"),
        ("cut-off-here", Verdict.CUT_OFF_HERE, "4 of 4 others do", "ip route get 10.77.0.11"),
        ("frozen", Verdict.UNHEALTHY, "accepts connections to 22, 8080 and", "power-cycle it"),
        ("hung-services", Verdict.UNHEALTHY, "unit keystone: hung", "backup restore controller"),
        (
            "power-off",
            Verdict.DEAD,
            "its BMC reports that its power is off, and none of 5 witnesses",
            "",
        ),
        ("silent-power-on", Verdict.DEAD, "its BMC reports power on: it hangs", ""),
    ],
)
def test_what_was_seen_on_the_lab(name: str, verdict: Verdict, reason: str, remedy: str) -> None:
    judged = judge(seen(name))
    assert judged.verdict is verdict
    assert reason in judged.reason
    assert remedy in judged.remedy
    assert bool(judged.remedy) == (verdict is not Verdict.DEAD)
    names = ["this machine", "proxy", "controller", "storage1", "compute1", "compute2", "BMC"]
    names.remove(judged.suspect)
    assert [word.witness for word in judged.statements] == names


def test_what_each_witness_says_is_a_line_of_a_table() -> None:
    words = {word.witness: word.summary for word in judge(seen("cut-off-here")).statements}
    assert words["this machine"] == (
        "no answer by ARP, ping, 10 ports; SSH: cannot be reached: port 22 did not answer within "
        "8 s"
    )
    assert words["compute1"] == (
        "ARP: da:3e:a3:86:25:36; answers ping; ports that answer: 22, 5000, 5672, 8774, 8775, "
        "8776, 8778, 9292, 9696, 11211; 16 open connections, silent for 5 s"
    )
    assert words["BMC"] == "power on"


def test_the_ports_are_those_of_the_suspect_s_roles_but_for_the_database() -> None:
    controller = Recorded("alive")
    controller.look()
    assert controller.asked["here"] == controller.asked["compute1"]
    assert {22, 5000, 5672, 8774, 9696} <= set(controller.asked["here"])
    assert not {3306, 8080} & set(controller.asked["here"])
    assert set(controller.asked) == {"here", "proxy", "storage1", "compute1", "compute2"}
    proxy = Recorded("power-off")
    proxy.look()
    assert proxy.asked["here"] == [22, 8080, 11211]


def dead(*others: Witness, **changed: Any) -> HostEvidence:
    """A silent host, as this machine and others see it."""
    named = tuple(replace(witness, name=f"w{at}") for at, witness in enumerate(others))
    base = HostEvidence(
        suspect="controller",
        address="10.77.0.11",
        operator=replace(SILENT, name="this machine"),
        login=Login(error="no route to host"),
        others=named,
        power=Power(on=None, message="no answer"),
    )
    return replace(base, **changed)


OFF, ON = Power(on=False), Power(on=True)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (dead(SILENT), Verdict.DEAD),
        (dead(SILENT, SILENT, GONE), Verdict.DEAD),
        # This machine may be in the smaller half of a parted network.
        (dead(SILENT, GONE, GONE), Verdict.UNKNOWN),
        (dead(GONE, GONE), Verdict.UNKNOWN),
        (dead(), Verdict.UNKNOWN),
        (dead(GONE, GONE, power=ON), Verdict.UNKNOWN),
        (dead(GONE, GONE, power=OFF), Verdict.DEAD),
        # One that may neither ping nor ask is no witness.
        (dead(Witness(name="x", no_arp="Operation not permitted")), Verdict.UNKNOWN),
        # Whoever sees it is right.
        (dead(SILENT, SILENT, SILENT, SEES), Verdict.UNKNOWN),
        (dead(SILENT, SEES), Verdict.CUT_OFF_HERE),
        (dead(SEES, GONE, GONE), Verdict.CUT_OFF_HERE),
        # Its BMC, or the address, is another host's.
        (dead(SILENT, SILENT, SEES, power=OFF), Verdict.UNKNOWN),
        (dead(SILENT, operator=SEES, power=OFF), Verdict.UNKNOWN),
        # By way of a jump host, or with a strange key.
        (dead(SILENT, login=Login(boot_id="b", there=True), failed=()), Verdict.ALIVE),
        (dead(SILENT, login=Login(error="strange key", there=True), failed=()), Verdict.UNHEALTHY),
        (dead(SILENT, operator=SEES, failed=("unit x: gone",)), Verdict.UNHEALTHY),
        (dead(SEES, operator=SEES, login=Login(boot_id="b", there=True)), Verdict.UNHEALTHY),
    ],
)
def test_unknown_is_not_yes(found: HostEvidence, verdict: Verdict) -> None:
    judged = judge(found)
    assert judged.verdict is verdict, judged.reason
    assert bool(judged.remedy) == (verdict is not Verdict.DEAD)


@pytest.mark.parametrize(
    ("changed", "alive"),
    [
        ({"ports": (Port(number=22, state=PortState.REFUSED),)}, True),  # a kernel refuses
        ({"ports": (Port(number=22, state=PortState.ACCEPTED),)}, True),
        ({"ports": (Port(number=22, state=PortState.SILENT),)}, False),
        ({"has_address": True}, True),
        ({"macs": ("aa:bb:cc:00:00:01",)}, True),
        # The kernel's table outlives its host: only where nothing better was asked.
        ({"neighbour": "REACHABLE"}, False),
        ({"neighbour": "REACHABLE", "macs": None}, True),
        ({"neighbour": "STALE", "macs": None}, False),
        ({"established": 3, "heard": 1.0, "seconds": 2.0}, True),
        ({"established": 3, "heard": 9.0, "seconds": 2.0}, False),
        ({"pings": None}, False),
    ],
)
def test_what_is_a_sign_of_life(changed: dict[str, Any], alive: bool) -> None:
    witness = replace(SILENT, **changed)
    assert bool(witness.signs) == alive
    assert (judge(dead(witness)).verdict is Verdict.DEAD) != alive


def test_a_power_that_cannot_be_read_is_told() -> None:
    record = Recorded("power-off")
    record.told["power"] = {"error": "its BMC gave no answer within 10 s"}
    judged = judge(record.look())
    assert judged.verdict is Verdict.DEAD
    assert judged.statements[-1].summary == "not known: its BMC gave no answer within 10 s"
    assert judged.statements[-1].sign is None
