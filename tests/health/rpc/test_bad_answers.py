"""What hosts answer about agents, and cannot be read: unknown for that host, and for no other."""

import asyncio
from typing import Any

import pytest

from backstay.health.rpc.diagnosis import Signature
from backstay.health.rpc.observe import observe_agents
from backstay.health.rpc.signatures import judge_all
from tests.health.rpc.recorded import Recording

UNIT: dict[str, Any] = {
    "load": "loaded",
    "active": "active",
    "sub": "running",
    "states": "S",
    "sockets": [],
    "log": [],
}
UNITS: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "no units": {"hostname": "compute1"},
    "units are a list": {"hostname": "compute1", "units": []},
    "a unit is a text": {"hostname": "compute1", "units": {"nova-compute": "well"}},
    "a state is a number": {"hostname": "c", "units": {"nova-compute": UNIT | {"active": 1}}},
    "since is a text": {"hostname": "c", "units": {"nova-compute": UNIT | {"since": "x"}}},
    "a socket of two": {"hostname": "c", "units": {"nova-compute": UNIT | {"sockets": [[1, 2]]}}},
    "a port below 0": {
        "hostname": "c",
        "units": {"nova-compute": UNIT | {"sockets": [["10.0.0.1", -1, "10.0.0.2", 5672, 0, 0]]}},
    },
    "a log of texts": {"hostname": "c", "units": {"nova-compute": UNIT | {"log": ["x"]}}},
    "a hostname is a list": {"hostname": ["compute1"], "units": {}},
}
PINGS: dict[str, Any] = {
    "nothing": None,
    "a mapping": {},
    "too few": [],
    "too many": [[True, "", 0.0]] * 900,
    "of two": [[True, ""]],
    "answered is a text": [["yes", "", 0.1]] * 3,
    "seconds are a text": [[True, "", "x"]] * 3,
}
SOCKETS: dict[str, Any] = {
    "nothing": None,
    "a text": "none",
    "of two": [["10.0.0.1", 5672]],
    "repeats are a text": [["10.0.0.1", 5672, "10.0.0.2", 4, 0, "x"]],
}


def signatures(recording: Recording) -> dict[str, tuple[Signature, str]]:
    observed = asyncio.run(observe_agents(recording))  # type: ignore[arg-type]
    return {one.name: (one.signature, one.evidence) for one in judge_all(observed, reconnect=90.0)}


WELL = signatures(Recording("all-well"))


@pytest.mark.parametrize("answer", UNITS.values(), ids=UNITS)
def test_units_that_cannot_be_read_leave_the_agents_of_other_hosts_attached(answer: Any) -> None:
    lying = Recording("all-well")
    lying.answers["compute1 read_agents"] = answer
    found = signatures(lying)
    assert found.keys() == WELL.keys()
    for name, (signature, evidence) in found.items():
        if name.endswith("compute1"):
            # Its answer to a call is evidence that does not come from what it cannot tell.
            assert signature in {Signature.ATTACHED, Signature.UNKNOWN}
            assert "Traceback" not in evidence
        else:
            assert (signature, evidence) == WELL[name]


@pytest.mark.parametrize("answer", PINGS.values(), ids=PINGS)
def test_calls_that_cannot_be_read_are_calls_that_were_not_made(answer: Any) -> None:
    lying = Recording("all-well")
    [config] = [key for key in lying.answers if "ping" in key and "nova.conf" in key]
    lying.answers[config] = answer
    found = signatures(lying)
    assert found["nova-compute on compute1"][0] is Signature.UNKNOWN
    assert "no call could be made" in found["nova-compute on compute1"][1]
    others = [name for name in WELL if not name.startswith("nova-")]
    assert {name: found[name] for name in others} == {name: WELL[name] for name in others}


@pytest.mark.parametrize("answer", SOCKETS.values(), ids=SOCKETS)
def test_sockets_of_the_brokers_host_that_cannot_be_read_are_not_known(answer: Any) -> None:
    lying = Recording("all-well")
    lying.answers["controller broker_sockets"] = answer
    assert signatures(lying) == WELL


def test_a_host_that_says_it_is_another_takes_none_of_its_agents() -> None:
    lying = Recording("all-well")
    lying.answers["compute2 read_agents"] |= {"hostname": "compute1"}
    assert signatures(lying) == WELL
