"""A fenced host that is on, an address that two hosts answer for: seen, told once, acted on."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.answers import convert
from backstay.errors import HostUnreachable
from backstay.health import addresses
from backstay.inventory.load import load
from backstay.inventory.watch import Policy
from backstay.runbooks import power_off
from backstay.services.registry import all_services
from backstay.transports.arp import own_macs
from backstay.watch.act.guards import WatchAction, wanted
from backstay.watch.act.planning import plan_of
from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.second_hosts import PAUSE_OF_HOSTS, SecondHosts
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import Topology, topology
from backstay.watch.detect.tracker import StateTracker
from backstay.watch.incidents.correlate import CorrelationInput, causes
from backstay.watch.incidents.incident import Cause, Kind, Urgency
from backstay.watch.incidents.recovery import Recovery
from tests.watch.correlation_inputs import CLOUD

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
C, D = "52:54:00:00:00:0c", "52:54:00:00:00:0d"
FENCED = """
fenced:
  controller-old:
    was: controller
    since: 2026-11-24T22:00:00Z
    bmc: {url: 'https://10.0.0.111', username: admin, password: s3cret}
"""
POLICY = Policy.model_validate({"fenced-host-on": "power-off"})


class Session:
    def __init__(self, top: Topology) -> None:
        self.cloud = top.cloud
        self.asked: list[str] = []
        self.silent = False

    async def ask(self, host: str, function: Any, *_: Any, bound: float, returns: Any) -> Any:
        self.asked.append(host)
        if self.silent:
            raise HostUnreachable("asking", came_back="silent", remedy="look")
        return convert(returns, [] if function is own_macs else {})


class Seen:
    """What the watch sees of them, and what it makes of that."""

    def __init__(self, top: Topology) -> None:
        self.top = top
        self.tracker = StateTracker(top, 10.0, lambda _: "the network is bad")
        self.session = Session(top)
        self.on: bool | None = False
        self.macs: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.asks = SecondHosts(
            self.session,  # type: ignore[arg-type]
            self.tracker.take,
            lambda host: host != "proxy",
            lambda: self.open,
            power=self.power,
            here=self.here,
        )

    async def power(self, _name: str, _host: Any) -> tuple[bool | None, str]:
        return self.on, "no answer"

    async def here(self, given: Sequence[str], _bound: float) -> Mapping[str, Sequence[str]]:
        return {address: macs for address, macs in self.macs.items() if address in given}

    def ask(self) -> list[Cause]:
        """Ask once, and return the causes."""

        async def ask() -> None:
            for name, host in self.top.cloud.fenced.items():
                await self.asks.ask_power(name, host)
            await self.asks.ask_addresses()

        asyncio.run(ask())
        correlation_input = CorrelationInput(
            now=1.0,
            targets=self.tracker.targets,
            topology=self.top,
            silenced=frozenset({"controller"}),
        )
        return [one.cause for one in causes(correlation_input) if one.ready]


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setattr(addresses, "_AGAIN", 0.0)
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD + FENCED)
    return Seen(topology(load(file), all_services()))


def test_one_that_is_on_is_critical_at_the_first_answer_whatever_is_silenced(seen: Seen) -> None:
    assert seen.ask() == []
    seen.on = True
    [cause] = seen.ask()
    assert cause.title == "Fenced host controller-old is powered on: it may answer as controller"
    assert (cause.kind, cause.urgency) == (Kind.FENCED_HOST_ON, Urgency.CRITICAL)
    assert cause.host == "controller-old"
    assert "what is sent to controller may reach another host" in cause.impact
    assert "switch it off at once (https://10.0.0.111)" in cause.remedy


def test_an_address_with_two_macs_is_critical(seen: Seen) -> None:
    seen.macs = {"10.0.0.11": [A, B]}
    [cause] = seen.ask()
    assert cause.title == f"Two hosts answer for 10.0.0.11 (MAC {A}, MAC {B})"
    assert (cause.kind, cause.urgency) == (Kind.DUPLICATE_ADDRESS, Urgency.CRITICAL)
    assert cause.host == "controller"
    assert "take its cable out" in cause.remedy
    assert "controller-old was replaced by it, and its BMC may not tell the truth" in cause.remedy


def test_both_are_one_incident(seen: Seen) -> None:
    seen.on, seen.macs = True, {"10.0.0.11": [A, B], "10.0.0.12": [C, D]}
    found = {cause.key: cause for cause in seen.ask()}
    assert set(found) == {"fenced-host:controller-old", "address:proxy"}
    assert found["fenced-host:controller-old"].symptoms == ("controller/address/owner",)


def test_a_bmc_that_is_silent_is_no_alarm(seen: Seen) -> None:
    seen.on = None
    assert seen.ask() == []
    [target] = [t for t in seen.tracker.targets.values() if t.subject.service == "fenced-host"]
    assert target.state is State.UNKNOWN


def test_it_is_over_when_that_has_been_off_for_a_while(seen: Seen) -> None:
    seen.on = True
    [cause] = seen.ask()
    recovery = Recovery(seen.tracker.targets)
    assert not recovery.over(cause, 2.0)
    [target] = seen.tracker.targets.values()
    for at in (0.0, 11.0):
        good = ProbeResult(
            subject=target.subject, outcome=Outcome.OK, evidence="off", at=target.since + at
        )
        seen.tracker.take(good)
    assert recovery.over(cause, 20.0)


def owner(seen: Seen) -> State:
    return seen.tracker.targets["controller/address/owner"].state


def test_it_goes_on_while_nobody_can_ask_or_nothing_answers(seen: Seen) -> None:
    seen.macs = {"10.0.0.11": [A, B]}
    [cause] = seen.ask()
    seen.session.silent, seen.macs = True, {}
    assert [one.key for one in seen.ask()] == [cause.key]
    assert owner(seen) is State.DOWN
    seen.session.silent, seen.macs = False, {"10.0.0.11": []}
    seen.ask()
    assert owner(seen) is State.DOWN
    seen.macs = {"10.0.0.11": [A]}
    seen.ask()
    assert owner(seen) is State.RECOVERING


def test_that_of_an_earlier_watch_goes_on_until_it_was_asked(seen: Seen) -> None:
    seen.macs = {"10.0.0.11": [A, B]}
    [cause] = seen.ask()
    anew = Seen(seen.top)
    anew.open, anew.session.silent = ["controller", "gone"], True
    anew.ask()
    recovery = Recovery(anew.tracker.targets)
    assert not recovery.over(cause, 1.0)
    assert not recovery.over(cause, 1000.0)
    anew.session.silent, anew.macs = False, {"10.0.0.11": [A]}
    anew.ask()
    assert recovery.over(cause, 1001.0)


def pauses(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        raise EOFError

    with monkeypatch.context() as patch:
        patch.setattr("backstay.watch.detect.second_hosts.asyncio.sleep", sleep)
        with pytest.raises(EOFError):
            asyncio.run(seen.asks.watch_addresses())
    return found


def test_hosts_are_asked_to_ask_less_often(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pauses(seen, monkeypatch) == [PAUSE_OF_HOSTS]
    seen.macs = {host.address: [] for host in seen.top.cloud.hosts.values()}
    assert pauses(seen, monkeypatch) == [3.0]


def test_no_question_to_a_bmc_goes_on_alone(seen: Seen) -> None:
    """The part of the watch is restarted, with all of them."""
    [old] = seen.top.cloud.fenced.values()
    seen.session.cloud = seen.top.cloud.model_copy(update={"fenced": {"a": old, "b": old}})
    ended: list[str] = []

    async def power(name: str, _host: Any) -> tuple[bool | None, str]:
        if name == "b":
            raise EOFError
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
        return None, ""

    asks = SecondHosts(seen.session, seen.tracker.take, power=power)  # type: ignore[arg-type]

    async def watch() -> list[str]:
        with pytest.raises((EOFError, ExceptionGroup)):
            await asks.watch_powers()
        return list(ended)

    assert asyncio.run(watch()) == ["a"]


def test_hosts_that_are_down_are_no_witnesses(seen: Seen) -> None:
    seen.ask()
    assert seen.session.asked == ["controller", "storage1"]


def test_the_policy_cuts_power_and_nothing_else(seen: Seen) -> None:
    seen.on = True
    [cause] = seen.ask()
    cloud = seen.top.cloud
    assert wanted(Policy(), cause, cloud) is None, "the default is to notify"
    assert wanted(POLICY, cause, cloud) is WatchAction.POWER_OFF
    made = asyncio.run(plan_of(WatchAction.POWER_OFF, seen.session, cause))  # type: ignore[arg-type]
    assert (made.plan.runbook, made.plan.targets) == (power_off.RUNBOOK, ("controller-old",))
    assert made.does == "cut the power of the fenced host controller-old by its BMC"
    shared = replace(cause, kind=Kind.DUPLICATE_ADDRESS, host="controller")
    assert wanted(POLICY, shared, cloud) is None, "whose power that would be is not known"
