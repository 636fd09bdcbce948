"""A host without a way to its broker: the watch names the link, and asks for no restart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.inventory.watch import Policy
from backstay.services.registry import named
from backstay.watch.act.guards import wanted
from backstay.watch.detect.host_answers import (
    AnswerLine,
    HostAnswer,
    HostProbes,
    StatusLine,
    probe_results,
)
from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import AGENT, Topology
from backstay.watch.incidents.correlate import causes
from backstay.watch.incidents.incident import Kind
from tests.watch.correlation_inputs import correlation_input, host, ready, small, target

[PROBE] = [one for one in named("rabbitmq").host_liveness if one.way is not None]
LINK = "network from compute1 to controller port 5672: no packet came back: 7 attempts within 4 s"


@pytest.fixture
def top(tmp_path: Path) -> Topology:
    return small(tmp_path)


def signs(reported: HostAnswer, number: int, ended: str, said: Any) -> list[ProbeResult]:
    watched = HostProbes(host="compute1", units=(), probes=(("rabbitmq", PROBE),))
    line = AnswerLine(number=number, ended=ended, said=said, seconds=1.0)  # type: ignore[arg-type]
    reported.take(StatusLine(answers={PROBE.name: line}))
    return probe_results(watched, reported, 100.0 + number, lambda _: "controller")


def knocked(reported: HostAnswer, number: int, ended: str, said: Any) -> ProbeResult:
    [found] = signs(reported, number, ended, said)
    return found


def tried(ended: str) -> str:
    one = {"host": "10.0.0.11", "port": 5672, "step": "connect", "ended": ended, "tls": False}
    return json.dumps({"config": "/etc/nova/nova.conf", "tries": [one]})


def test_the_way_is_the_agents_and_sure_when_it_lasts() -> None:
    reported = HostAnswer()
    first = knocked(reported, 1, "late", tried("late"))
    assert first.subject.key == "compute1/agent/way to the broker"
    assert (first.outcome, first.sure) == (Outcome.NO_WAY, False)
    assert first.evidence.startswith("network from compute1 to controller port 5672: ")
    assert knocked(reported, 2, "late", tried("late")).sure
    assert knocked(reported, 3, "ok", "open").good
    refused = [knocked(reported, n, "failed", tried("refused")).sure for n in (4, 5, 6)]
    assert refused == [False, False, True], "a broker that is restarted refuses for a while"


@pytest.mark.parametrize("said", ["no answer yet", "{}", '{"tries": 5}', 7])
def test_what_says_nothing_of_the_way_is_no_sign(said: Any) -> None:
    assert signs(HostAnswer(), 1, "late", said) == []


def cut(name: str = "nova-compute", where: str = "compute1") -> TargetState:
    return replace(target(f"{where}/{AGENT}/{name}", State.DOWN, Outcome.NO_WAY), trouble=LINK)


def test_it_is_a_cause_of_its_own_that_nothing_is_restarted_for(top: Topology) -> None:
    given = correlation_input(top, cut("way to the broker"), cut())
    [found] = ready(given)
    cause = found.cause
    assert (cause.kind, cause.host) == (Kind.BROKER_UNREACHABLE, "compute1")
    assert cause.key == "agents:compute1"
    assert cause.title == "Network from compute1 to controller port 5672"
    assert "restart nothing" in cause.remedy
    policy = Policy.model_validate({"agent-not-processing": "reattach"})
    assert wanted(policy, cause, top.cloud) is None


def test_the_units_of_its_agents_are_its_symptoms(top: Topology) -> None:
    ended = target("compute1/nova/nova-compute", State.DOWN, Outcome.FAILED)
    given = correlation_input(top, cut("way to the broker"), ended)
    [found] = ready(given)
    assert found.cause.kind is Kind.BROKER_UNREACHABLE
    assert ended.subject.key in found.cause.symptoms


def test_a_dead_broker_explains_it(top: Topology) -> None:
    broker = target("controller/rabbitmq/rabbitmq-server", State.DOWN, Outcome.FAILED)
    [found] = ready(correlation_input(top, broker, cut()))
    assert (found.cause.service, found.cause.host) == ("rabbitmq", "controller")


def test_a_dead_controller_explains_it(top: Topology) -> None:
    [found] = ready(correlation_input(top, host("controller", State.DOWN), cut()))
    assert found.cause.host == "controller"


def test_it_waits_while_the_broker_is_suspect(top: Topology) -> None:
    broker = target("controller/rabbitmq/message", State.SUSPECT, Outcome.LATE)
    [found] = causes(correlation_input(top, broker, cut()))
    assert not found.ready
