"""Every signature, from real recordings and from evidence made up piece by piece."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.finding import Severity
from backstay.health.rpc.agents import findings
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature, after_restart, faulty
from backstay.health.rpc.evidence import AgentSeen, AgentsObservation, Ping, Socket, UnitSeen
from backstay.health.rpc.observe import observe_agents
from backstay.health.rpc.signatures import judge, judge_all
from backstay.services.broker_way import BrokenLink, Link
from backstay.services.declaration import Agent
from backstay.services.messaging import Messaging, Queue
from backstay.services.registry import named
from tests.health.rpc.recorded import DATA, Many, Recording

RECONNECT = 90.0
WIRING = {
    rpc_endpoint.binary: rpc_endpoint
    for s in ("nova", "neutron", "cinder")
    for rpc_endpoint in named(s).rpc_endpoints
}
MINE = ("10.0.0.21", 40001)
REPLY = ("10.0.0.21", 40002)
QUEUE, ANSWERS = "compute.compute1", "reply_1"


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.json")))
def test_recorded(name: str) -> None:
    looked = asyncio.run(observe_agents(Recording(name)))  # type: ignore[arg-type]
    lines = [
        f"{one.signature:10}{one.name:41}{one.evidence}"
        for one in judge_all(looked, reconnect=RECONNECT)
    ]
    assert lines == Path(DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def agent(binary: str = "nova-compute", host: str = "compute1") -> Agent:
    return Agent(
        binary=binary,
        host=host,
        up=True,
        enabled=True,
        heartbeat=datetime.now(UTC),
        interval=10.0,
        down_after=60.0,
    )


def unit(**changed: Any) -> UnitSeen:
    well = UnitSeen(
        load="loaded",
        active="active",
        sub="running",
        states="S",
        since=5000.0,
        sockets=(Socket(local=MINE, address="10.0.0.11"), Socket(local=REPLY, address="10.0.0.11")),
    )
    return replace(well, **changed)


def seen(binary: str = "nova-compute", host: str = "compute1", **changed: Any) -> AgentSeen:
    well = AgentSeen(
        service="nova",
        agent=agent(binary, host),
        rpc_endpoint=WIRING[binary],
        host=host,
        age=5.0,
        unit=unit(),
        ping=Ping(answered=True, seconds=0.02),
    )
    return replace(well, **changed)


def broker(**changed: Any) -> Messaging:
    well = Messaging(
        up=5000.0,
        clock=1e9,
        queues=(Queue(name=QUEUE), Queue(name=ANSWERS)),
        consumers=((QUEUE, MINE), (ANSWERS, REPLY)),
        bound=frozenset((QUEUE,)),
        connections=frozenset((MINE, REPLY)),
    )
    return replace(well, **changed)


NO_ANSWER = Ping(answered=False, error="MessagingTimeout: Timed out", seconds=6.0)
DEAD = (Socket(local=MINE, address="10.0.0.11", unacknowledged=40, repeats=5),)
STRANGE = (Socket(local=("10.0.0.21", 50000), address="10.0.0.11"),)
LOST = Queue(name=QUEUE, lost=True)
REFUSED = BrokenLink(link=Link.LOGIN, title="it refuses", evidence="the login", remedy="see it")
NOWHERE = broker(consumers=(), connections=frozenset())


@pytest.mark.parametrize(
    ("seen", "broker", "signature", "restart", "word"),
    [
        (seen(), broker(), "attached", False, "answered"),
        (seen(), broker(trouble="no answer"), "unknown", False, "broker does not answer"),
        (seen(), broker(refused="it refuses"), "refused", False, "refuses"),
        (seen(unit=unit(active="inactive", since=None)), broker(), "down", True, "inactive"),
        (seen(unit=unit(active="failed", result="exit-code")), broker(), "down", True, "exit-code"),
        (seen(unit=unit(active="inactive", load="masked")), broker(), "down", False, "masked"),
        (seen(unit=unit(active="activating", sub="start")), broker(), "settling", False, "started"),
        (seen(unit=unit(active="activating", sub="auto-restart")), broker(), "down", True, "activ"),
        (seen(unit=unit(states="TT"), ping=NO_ANSWER), broker(), "frozen", True, "stopped"),
        # just before the last look the agent answered: its process is stopped all the same
        (seen(unit=unit(states="T")), broker(), "frozen", True, "stopped"),
        (seen(ping=NO_ANSWER), broker(up=20.0), "settling", False, "came back 20 s ago"),
        (seen(ping=NO_ANSWER, unit=unit(since=9.0)), broker(), "settling", False, "started 9 s"),
        (seen(unit=None, missing=("mute",)), broker(), "attached", False, "answered"),
        (seen(unit=None, ping=NO_ANSWER, missing=("mute",)), broker(), "unknown", False, "mute"),
        (seen(ping=None, missing=("no call",)), broker(), "unknown", False, "no call"),
        (
            seen(ping=NO_ANSWER, unit=unit(sockets=DEAD)),
            broker(),
            "half-open",
            True,
            "without success",
        ),
        (
            seen(ping=NO_ANSWER, stalled=frozenset((MINE,))),
            broker(),
            "half-open",
            True,
            "without success",
        ),
        (seen(ping=NO_ANSWER, unit=unit(sockets=STRANGE)), NOWHERE, "half-open", True, "none of 1"),
        (
            seen(ping=NO_ANSWER, unit=unit(sockets=(*STRANGE, *unit().sockets[1:]))),
            broker(consumers=(), queues=()),
            "half-open",
            True,
            "none of 1 of its 2",
        ),
        (seen(ping=NO_ANSWER, unit=unit(sockets=())), broker(), "deaf", True, "without any"),
        (seen(ping=NO_ANSWER), broker(bound=frozenset()), "deaf", True, "is not bound"),
        (seen(ping=NO_ANSWER), broker(consumers=()), "deaf", True, "has no consumer"),
        (seen(ping=NO_ANSWER), broker(queues=()), "deaf", True, "does not exist"),
        (seen(ping=NO_ANSWER), broker(queues=(LOST,)), "deaf", False, "lost its queue"),
        (seen(), broker(queues=(Queue(name=QUEUE),)), "deaf", True, "has no reply queue"),
        (seen(), broker(consumers=((QUEUE, MINE),)), "deaf", True, "has no reply queue"),
        (seen(ping=NO_ANSWER), broker(), "frozen", True, "hangs"),
        (
            seen(ping=NO_ANSWER),
            broker(queues=(Queue(name=QUEUE, messages=7), Queue(name=ANSWERS))),
            "frozen",
            True,
            "7 messages wait",
        ),
        (
            seen(),
            broker(consumers=((QUEUE, MINE), (QUEUE, ("10.0.0.21", 1)), (ANSWERS, REPLY))),
            "settling",
            False,
            "former connection",
        ),
        # with a broken way nothing is restarted, whatever state its unit is in
        (seen(ping=NO_ANSWER, broken=REFUSED), broker(), "login", False, "refuses"),
        (seen(unit=unit(active="failed"), broken=REFUSED), broker(), "login", False, "refuses"),
        # the process before the restart has answered: what runs now has no way
        (seen(unit=unit(sockets=(), since=1.0), broken=REFUSED), broker(), "login", False, "login"),
        (
            seen(unit=unit(active="deactivating"), broken=REFUSED),
            broker(),
            "login",
            False,
            "refuses",
        ),
        (seen(broken=REFUSED), broker(), "attached", False, "answered"),
        # behind a load balancer the broker sees other addresses: no reason to doubt the answer
        (seen(), NOWHERE, "attached", False, "answered"),
        (
            seen("neutron-metadata-agent", ping=None),
            broker(),
            "attached",
            False,
            "receives no calls",
        ),
    ],
)
def test_each_signature(
    seen: AgentSeen, broker: Messaging, signature: str, restart: bool, word: str
) -> None:
    found = judge(seen, broker, reconnect=RECONNECT)
    assert (found.signature.value, found.restart) == (signature, restart)
    assert word in found.evidence
    if not restart and signature not in {"attached", "settling"}:
        assert found.remedy


def together(
    *agents: AgentSeen, up: float = 5000.0, conductor: UnitSeen | None = None
) -> list[AgentDiagnosis]:
    looked = AgentsObservation(
        broker=broker(up=up), agents=agents, writers={"nova-conductor": (conductor or unit(),)}
    )
    return judge_all(looked, reconnect=RECONNECT)


LATE = seen(age=400.0, agent=replace(agent(), up=False))
IN_TIME = seen(host="compute2")


def test_an_agent_that_answers_and_reports_no_more_is_frozen() -> None:
    [late, other] = together(LATE, IN_TIME)
    assert (late.signature, late.restart) == (Signature.FROZEN, True)
    assert "last reported 7 min ago" in late.evidence
    assert other.signature is Signature.ATTACHED
    [never, _] = together(replace(LATE, age=None), IN_TIME)
    assert never.signature is Signature.FROZEN


def test_late_reports_are_nobodys_fault_while_their_api_calls_them_up() -> None:
    """A site may let its agents report every five minutes: only its API knows."""
    [late, _] = together(replace(LATE, agent=agent()), IN_TIME)
    assert (late.signature, late.restart) == (Signature.ATTACHED, False)


@pytest.mark.parametrize(
    "away",
    [
        {"enabled": False, "note": "mainboard"},
        {"forced_down": True, "note": "mainboard", "up": False},
    ],
)
@pytest.mark.parametrize(
    "trouble",
    [
        {"age": 400.0},
        {"ping": NO_ANSWER},
        {"unit": unit(active="inactive", states="", since=None), "ping": NO_ANSWER},
        {"unit": unit(since=5.0), "ping": NO_ANSWER},
    ],
)
def test_who_was_taken_out_of_service_is_left_alone(
    away: dict[str, Any], trouble: dict[str, Any]
) -> None:
    out = replace(agent(), activate="openstack compute service set --enable", **away)
    [one, _] = together(seen(agent=out, **trouble), IN_TIME)
    assert not one.restart
    assert faulty([one], force=True) == []
    if one.signature is not Signature.ATTACHED:
        assert "mainboard" in one.evidence
        assert "openstack compute service set --enable" in one.remedy
        assert findings([one])[0].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("conductor", "signature"),
    [(unit(since=30.0), "settling"), (unit(active="inactive", since=None), "unknown")],
)
def test_late_reports_are_not_laid_to_an_agent_whose_conductor_was_away(
    conductor: UnitSeen, signature: str
) -> None:
    [late, _] = together(LATE, IN_TIME, conductor=conductor)
    assert (late.signature.value, late.restart) == (signature, False)
    assert "nova-conductor" in late.evidence


def test_nobody_is_blamed_where_nobodys_reports_come_through() -> None:
    judged = together(LATE, replace(LATE, host="compute2"), seen("nova-scheduler", "controller"))
    assert [one.signature.value for one in judged] == ["unknown", "unknown", "attached"]


def test_an_agent_needs_time_to_report_after_the_broker_came_back() -> None:
    [late, _] = together(LATE, IN_TIME, up=95.0)
    assert late.signature is Signature.ATTACHED


def test_what_is_restarted_with_force_and_without() -> None:
    silent = seen(unit=None, ping=None, missing=("its host is silent",))
    stranger = replace(silent, host=None)
    settling = seen(ping=NO_ANSWER, unit=unit(since=5.0))
    broken = seen(ping=NO_ANSWER)
    judged = together(silent, stranger, settling, broken)
    assert [one.seen for one in faulty(judged)] == [broken]
    assert [one.seen for one in faulty(judged, force=True)] == [silent, broken]


def test_what_a_restart_did_not_mend_has_another_remedy() -> None:
    [deaf] = judge_all(
        AgentsObservation(broker=broker(bound=frozenset()), agents=(seen(ping=NO_ANSWER),)),
        reconnect=RECONNECT,
    )
    assert f"rabbitmqctl delete_queue {QUEUE}" in after_restart(deaf)


@given(
    up=st.one_of(st.none(), st.floats(0, 1e6)),
    since=st.one_of(st.none(), st.floats(0, 1e6)),
    answered=st.one_of(st.none(), st.booleans()),
    active=st.sampled_from(["active", "inactive", "failed", "activating", "deactivating"]),
    states=st.sampled_from(["S", "T", "D", "", "ST"]),
    age=st.one_of(st.none(), st.floats(0, 1e6)),
    bound=st.booleans(),
    hosted=st.booleans(),
)
def test_nothing_that_settles_is_ever_restarted(**drawn: Any) -> None:
    ping = None if drawn["answered"] is None else Ping(answered=drawn["answered"])
    one = seen(
        age=drawn["age"],
        ping=ping,
        unit=unit(active=drawn["active"], since=drawn["since"], states=drawn["states"])
        if drawn["hosted"]
        else None,
        missing=("something",),
    )
    told = broker(up=drawn["up"], bound=frozenset((QUEUE,)) if drawn["bound"] else frozenset())
    [found] = judge_all(AgentsObservation(broker=told, agents=(one,)), reconnect=RECONNECT)
    if found.signature in {Signature.ATTACHED, Signature.SETTLING, Signature.UNKNOWN}:
        assert not found.restart
    if found.signature is Signature.ATTACHED:
        assert ping is not None
        assert ping.answered
    if drawn["up"] is not None and drawn["up"] < RECONNECT and drawn["hosted"] is False:
        assert not faulty([found])


def test_a_thousand_agents_are_read_and_judged_in_two_seconds() -> None:
    site = Many(1000)
    started = time.process_time()  # this machine may be busy with others
    looked = asyncio.run(observe_agents(site))  # type: ignore[arg-type]
    judged = judge_all(looked, reconnect=RECONNECT)
    seconds = time.process_time() - started
    assert len(judged) == 1000
    wrong = faulty(judged)
    assert {one.evidence.partition(";")[0] for one in wrong} == {
        "answers calls, but has no reply queue"
    }
    assert len(wrong) == 100
    assert seconds < 2.0
