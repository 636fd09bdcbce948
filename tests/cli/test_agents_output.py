"""The table of agents, from a recording of a lab with one half-open agent."""

import asyncio

import click

from backstay.cli.output.agents import agents_document, agents_table
from backstay.health.rpc.observe import observe_agents
from backstay.health.rpc.signatures import judge_all
from tests.health.rpc.recorded import Recording

JUDGED = judge_all(asyncio.run(observe_agents(Recording("half-open"))), reconnect=90.0)  # type: ignore[arg-type]
AT = next(at for at, one in enumerate(JUDGED) if one.restart)


def test_the_worst_stands_first_with_what_will_be_done() -> None:
    text = agents_table(JUDGED, {AT: "restart nova-compute (batch 1)"}, width=100, broker_up=400.0)
    lines = click.unstyle(text).splitlines()
    assert lines[0] == "10 agents: 1 half-open, 9 attached; the broker is up 7 min"
    assert lines[2].startswith("  half-open nova-compute on compute2 ")
    assert lines[4].strip() == "-> restart nova-compute (batch 1)"
    assert max(map(len, lines)) <= 100


def test_a_narrow_terminal_wraps_the_evidence() -> None:
    lines = click.unstyle(agents_table(JUDGED, {}, width=80, broker_up=None)).splitlines()
    assert max(map(len, lines)) <= 85
    assert "retransmitted without success" in " ".join(" ".join(lines).split())


def test_the_document() -> None:
    one = agents_document(JUDGED, {AT: "restart"})[AT]
    assert (one["binary"], one["host"], one["signature"], one["action"]) == (
        "nova-compute",
        "compute2",
        "half-open",
        "restart",
    )
