"""What the broker's word means for agents, and what only a call settles."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.answers import convert
from backstay.errors import ApiError, BackstayError
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.health.rpc.evidence import AgentSeen
from backstay.inventory.load import load
from backstay.services import nova
from backstay.services.rabbitmq.queues import MessagingAnswer
from backstay.watch.detect import agents as module
from backstay.watch.detect.agents import AgentProbes
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from tests.watch.correlation_inputs import CLOUD

QUEUE = "compute.compute1"
PEER = ["10.0.0.21", 40000]
TOLD: dict[str, Any] = {
    "clock": 0.0,
    "up": 5000.0,
    "queues": [[QUEUE, "running", 0], ["reply_1", "running", 0]],
    "consumers": [[QUEUE, *PEER], ["reply_1", "10.0.0.21", 40002]],
    "bound": [QUEUE],
    "connections": [PEER],
}
RECORD = {
    "binary": "nova-compute",
    "host": "compute1",
    "state": "up",
    "status": "enabled",
    "updated_at": "2026-11-25T01:00:00.000000",
}


class NoShell:
    """Nobody is asked here."""


@pytest.fixture
def asked(tmp_path: Path) -> tuple[AgentProbes, list[ProbeResult]]:
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD)
    api = BackstayError("asking", came_back="nothing", remedy="")
    site = CloudSession(cloud=load(file), shell=NoShell(), api=api)  # type: ignore[arg-type]
    results: list[ProbeResult] = []
    questions = AgentProbes(site, results.append)
    questions.agents = tuple(nova.read_agents({"services": [RECORD]}))
    return questions, results


def poll(**more: Any) -> Any:
    return convert(MessagingAnswer, TOLD | more)


def test_a_queue_that_is_fed_and_served_is_a_good_sign(asked: Any) -> None:
    questions, results = asked
    questions.polled(poll())
    assert [(one.subject.key, one.outcome) for one in results] == [
        ("compute1/agent/nova-compute", Outcome.OK)
    ]


@pytest.mark.parametrize("told", [{"bound": []}, {"consumers": []}, {"queues": []}])
def test_a_queue_that_is_not_is_a_bad_sign_that_is_not_sure(asked: Any, told: Any) -> None:
    questions, results = asked
    questions.polled(poll(**told))
    assert [(one.outcome, one.sure) for one in results] == [(Outcome.LATE, False)]
    assert QUEUE in results[0].evidence
    assert questions._doubtful == {"compute1"}


def test_what_the_broker_says_twice_of_a_steady_agent_is_sure(asked: Any) -> None:
    questions, results = asked
    for steady in (False, True):
        questions.steady = lambda host, unit, steady=steady: (
            steady and (host, unit) == ("compute1", "nova-compute")
        )
        results.clear()
        questions.polled(poll())
        for _ in range(2):
            questions.polled(poll(consumers=[]))
        assert [one.sure for one in results] == [False, False, steady]


def test_an_agent_that_takes_from_an_unfed_queue_is_deaf_however_young(asked: Any) -> None:
    questions, results = asked
    for _ in range(2):
        questions.polled(poll(bound=[]))
    assert [one.sure for one in results] == [False, True]


@pytest.mark.parametrize(
    "answer",
    [poll(up=30.0), poll(trouble="no"), poll(refused="no")],
)
def test_a_broker_that_has_just_come_back_or_tells_nothing_proves_nothing(
    asked: Any, answer: Any
) -> None:
    questions, results = asked
    questions.polled(answer)
    assert results == []


def test_a_lost_queue_for_answers_is_a_reason_to_call(asked: Any) -> None:
    questions, _ = asked
    questions.polled(poll())
    assert questions._doubtful == set()
    questions.polled(poll(consumers=[[QUEUE, *PEER]]))
    assert questions._doubtful == {"compute1"}


def test_what_a_call_has_found_only_a_call_clears(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, results = asked
    questions._called_bad["compute1/agent/nova-compute"] = "compute1"
    questions.polled(poll())
    assert results == []
    called = []

    async def diagnose(_site: Any, hosts: Any) -> Any:
        called.append(hosts)
        was_called.set()
        return None, []

    was_called = asyncio.Event()
    monkeypatch.setattr(module, "diagnose_agents", diagnose)
    monkeypatch.setattr(module, "AGAIN", 0.01)

    async def story() -> None:
        task = asyncio.ensure_future(questions.call_doubtful())
        async with asyncio.timeout(5):
            await was_called.wait()
        task.cancel()

    asyncio.run(story())
    assert called[0] == {"compute1"}


def test_a_way_that_a_call_found_broken_stays_the_reason_while_the_queue_has_no_consumer(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, results = asked
    [agent] = questions.agents
    endpoint = next(one for one in nova.SERVICE.rpc_endpoints if one.binary == "nova-compute")
    judged = AgentDiagnosis(
        seen=AgentSeen(
            service="nova", agent=agent, rpc_endpoint=endpoint, host="compute1", age=None
        ),
        signature=Signature.LOGIN,
        evidence="the broker on controller refuses the login of compute1: user openstack",
    )

    async def diagnose(_site: Any, _hosts: Any) -> Any:
        return None, [judged]

    monkeypatch.setattr(module, "diagnose_agents", diagnose)
    questions.steady = lambda _host, _unit: True
    asyncio.run(questions._call({"compute1"}))
    for _ in range(3):
        questions.polled(poll(consumers=[]))
    assert [(one.outcome, one.sure) for one in results] == [(Outcome.NO_WAY, True)]
    assert results[0].evidence.startswith("the broker on controller refuses the login")


UNIT = Subject(host="compute1", service="nova", name="nova-compute")


def unit_sign(outcome: Outcome, subject: Subject = UNIT) -> ProbeResult:
    return ProbeResult(subject=subject, outcome=outcome, evidence="", at=0.0)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED])
def test_an_agents_unit_that_ends_has_its_host_called_once(asked: Any, outcome: Outcome) -> None:
    questions, _ = asked
    questions.units = frozenset({UNIT.key})
    other = replace(UNIT, name="nova-api")
    questions.saw_units([unit_sign(one) for one in (Outcome.OK, Outcome.LATE, Outcome.UNKNOWN)])
    questions.saw_units([unit_sign(outcome, other)])
    assert questions.calls.awaited == frozenset()
    questions.saw_units([unit_sign(outcome)])
    assert questions.calls.awaited == {"compute1"}
    assert questions._wake.is_set()
    questions._doubtful.clear()
    questions.saw_units([unit_sign(outcome)])
    assert questions.calls.awaited == frozenset()
    questions.saw_units([unit_sign(Outcome.OK), unit_sign(outcome)])
    assert questions.calls.awaited == {"compute1"}


@pytest.mark.parametrize("end", [None, ApiError("agents", came_back="no", remedy="")])
def test_a_call_is_awaited_until_all_that_it_found_is_known(
    asked: Any, monkeypatch: pytest.MonkeyPatch, end: ApiError | None
) -> None:
    questions, _ = asked
    during: list[frozenset[str]] = []

    async def diagnose(_site: Any, _hosts: Any) -> Any:
        during.append(questions.calls.awaited)
        if end is not None:
            raise end
        return None, []

    monkeypatch.setattr(module, "diagnose_agents", diagnose)
    asyncio.run(questions._call({"compute1"}))
    asyncio.run(questions._call(None))
    assert during == [{"compute1"}, set(questions.site.cloud.hosts)]
    assert questions.calls.awaited == frozenset()
    assert set(questions.calls.ended) == set(questions.site.cloud.hosts)
