"""Reports of the message broker in which something is missing."""

import json
from typing import Any

from backstay.answers import read
from backstay.services.rabbitmq.queues import MessagingAnswer, read_messaging
from tests.health.rpc.recorded import DATA


def recorded() -> Any:
    whole = json.loads((DATA / "all-well.json").read_text(encoding="utf-8"))
    return whole["answers"]["controller ask_messaging"]


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
