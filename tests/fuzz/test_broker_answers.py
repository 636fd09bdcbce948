"""Mutated reports of the message broker, through what judges the agents by them."""

import json
from datetime import UTC, datetime
from typing import Any

from backstay.answers import BadAnswer, read
from backstay.health.judge_agents import RpcTopology
from backstay.services.declaration import Agent
from backstay.services.rabbitmq.queues import MessagingAnswer, read_messaging
from backstay.services.registry import all_services
from tests.fuzz.mutate import Mutator
from tests.health.rpc.recorded import DATA

TIMES = 150
ENDPOINTS = tuple(endpoint for service in all_services() for endpoint in service.rpc_endpoints)


def recorded() -> Any:
    whole = json.loads((DATA / "all-well.json").read_text(encoding="utf-8"))
    return whole["answers"]["controller ask_messaging"]


def agent(binary: str) -> Agent:
    return Agent(
        binary=binary,
        host="compute1",
        up=True,
        enabled=True,
        heartbeat=datetime.now(UTC),
        interval=10.0,
        down_after=60.0,
    )


def test_a_mutated_report_is_judged_or_refused():
    mutator, refused = Mutator(6), 0
    for _ in range(TIMES):
        try:
            messaging = read_messaging(read(MessagingAnswer, mutator.answer(recorded())))
        except BadAnswer:
            refused += 1
            continue
        topology = RpcTopology(messaging=messaging, rpc_endpoint=ENDPOINTS, reconnect=60.0)
        for endpoint in ENDPOINTS:
            one = agent(endpoint.binary)
            assert topology.trouble(one).isprintable()
            topology.takes(one)
        assert all(isinstance(port, int) for _, port in messaging.connections)
        assert messaging.refused.isprintable()
    assert 0 < refused < TIMES


def test_a_port_or_a_number_that_the_broker_does_not_know_is_left_out():
    report = recorded()
    report["consumers"].append(["compute.compute9", "10.0.0.9", "undefined"])
    report["connections"].append(["unknown", "unknown"])
    report["queues"].append(["compute.compute9", "running", None])
    report["queues"].append(["compute.compute8", "", ""])
    before = read_messaging(read(MessagingAnswer, json.dumps(recorded())))
    messaging = read_messaging(read(MessagingAnswer, json.dumps(report)))
    assert messaging.consumers == before.consumers
    assert messaging.connections == before.connections
    assert messaging.queues_by_name["compute.compute9"].messages == 0
    assert len(messaging.queues) == len(before.queues) + 2
