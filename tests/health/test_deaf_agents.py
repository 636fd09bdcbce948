"""What a plain check sees of agents that no message reaches, from the broker alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.finding import Finding, Severity
from backstay.health.judge_agents import Member, RpcTopology, judge_agents
from backstay.health.read_apis import Reported
from backstay.inventory.limits import Limits
from backstay.services.declaration import Agent
from backstay.services.messaging import Messaging, Queue
from backstay.services.registry import named
from backstay.transports.targets import SshTarget

NOVA = named("nova")
QUEUE = "compute.compute1"
WELL = Messaging(
    up=5000.0,
    queues=(Queue(name=QUEUE),),
    consumers=((QUEUE, ("10.0.0.21", 40000)),),
    bound=frozenset((QUEUE,)),
)


def judged(messaging: Messaging | None, *, up: bool = True, enabled: bool = True) -> Finding:
    now = datetime.now(UTC)
    agent = Agent(
        binary="nova-compute",
        host="compute1",
        up=up,
        enabled=enabled,
        heartbeat=now,
        interval=10.0,
        down_after=60.0,
    )
    member = Member(
        target=SshTarget(name="compute1", address="10.0.0.21", user="root"),
        units=(),
    )
    [finding] = judge_agents(
        Reported(service="nova", agents=(agent,), at=now.timestamp()),
        [member],
        RpcTopology(messaging=messaging, rpc_endpoint=NOVA.rpc_endpoints, reconnect=90.0),
        offset=0.0,
        limits=Limits(),
    )
    return finding


def changed(**changes: object) -> Messaging:
    seen: dict[str, Any] = {
        "up": WELL.up,
        "queues": WELL.queues,
        "consumers": WELL.consumers,
        "bound": WELL.bound,
    }
    return Messaging(**(seen | changes))


@pytest.mark.parametrize(
    ("messaging", "word"),
    [
        (changed(bound=frozenset()), "is not bound"),
        (changed(consumers=()), "has no consumer"),
        (changed(queues=()), "does not exist"),
    ],
)
def test_deaf(messaging: Messaging, word: str) -> None:
    finding = judged(messaging)
    assert finding.severity is Severity.FAILED
    assert word in finding.evidence
    assert "last report" in finding.evidence
    assert finding.remedy == "backstay reattach compute1"


@pytest.mark.parametrize(
    "messaging",
    [
        None,
        WELL,
        changed(up=20.0, consumers=()),  # settling
        changed(up=None, consumers=()),
        changed(trouble="no answer", queues=()),
        changed(refused="no such user", consumers=()),  # a finding of the broker's own
    ],
)
def test_not_to_be_seen_or_well(messaging: Messaging | None) -> None:
    assert judged(messaging).severity is Severity.OK


def test_an_agent_that_is_down_is_reattached_and_a_disabled_one_is_left_alone() -> None:
    assert judged(WELL, up=False).remedy == "backstay reattach compute1"
    assert judged(changed(consumers=()), enabled=False).severity is Severity.WARNING


@pytest.mark.parametrize("liar_first", [True, False])
@pytest.mark.parametrize("name", ["compute1", "compute1.example.org"])
def test_a_host_that_calls_itself_by_anothers_name_speaks_for_itself_alone(
    name: str, liar_first: bool
) -> None:
    """Its agent would count as that of the other host, and the other's as missing."""
    now = datetime.now(UTC)
    members = [
        Member(
            target=SshTarget(name=host, address=address, user="root"),
            units=tuple(unit for unit in NOVA.units if unit.agent == "nova-compute"),
            hostname=hostname,
        )
        for host, address, hostname in (
            ("compute1", "10.0.0.21", "compute1.example.org"),
            ("compute2", "10.0.0.22", name),
        )
    ]
    agent = Agent(
        binary="nova-compute",
        host=name,
        up=False,
        enabled=True,
        heartbeat=now,
        interval=10.0,
        down_after=60.0,
    )
    findings = judge_agents(
        Reported(service="nova", agents=(agent,), at=now.timestamp()),
        members[::-1] if liar_first else members,
        RpcTopology(),
        offset=0.0,
        limits=Limits(),
    )
    evidence = {finding.host: finding.evidence for finding in findings}
    assert set(evidence) == {"compute1", "compute2"}
    assert evidence["compute1"].startswith("down: last report")
    assert evidence["compute2"].startswith("has never reported")
