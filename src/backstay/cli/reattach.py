"""``backstay reattach``: agents that look alive and do not process RPC messages."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.execution import start
from backstay.cli.exit_status import ExitStatus, exit_statuses
from backstay.cli.options import (
    cloud_option,
    confirm,
    dry_run_option,
    hosts_argument,
    output_option,
    reason_option,
    skip_healthy_option,
    yes_option,
)
from backstay.cli.output.terminal import echo
from backstay.cli.output.text import terminal_width
from backstay.cli.session import open_cloud, open_session, require_hosts

if TYPE_CHECKING:
    from backstay.health.rpc.diagnosis import AgentDiagnosis
    from backstay.health.rpc.evidence import AgentsObservation
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan


@click.command(
    epilog=exit_statuses(
        ok="all agents are attached",
        failed="some were not reattached (backstay runs resume)",
        refused="nothing changed, as no restart would help",
    )
)
@hosts_argument
@click.option(
    "--at-a-time",
    type=click.IntRange(min=1),
    metavar="N",
    help="Agents to restart in parallel (default: 5 %, at least 1).",
)
@click.option("--force", is_flag=True, help="Also restart agents in unknown state.")
@dry_run_option
@skip_healthy_option
@yes_option
@reason_option
@cloud_option
@output_option
def reattach(  # options come by name
    *,
    hosts: tuple[str, ...],
    at_a_time: int | None,
    force: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Find the agents that look alive and do not process RPC messages; restart only those.

    Every agent is called by a message; it is attached where the answer comes. An agent that still
    settles after the broker came back is left alone. With HOSTs, only the agents on them.
    """
    from backstay.runbooks.reattach.plan import plan as make

    described = open_cloud(cloud)
    require_hosts(hosts, described)
    observed, judged = asyncio.run(_observed(described, hosts))
    plan = make(described, judged, at_a_time=at_a_time, force=force)
    actions = _actions(judged, plan)
    if output != "json":
        _show(observed, judged, actions, plan)
    elif dry_run or plan is None:
        echo(_document(judged, actions, plan))
    if plan is None:
        sys.exit(_without_a_plan(judged))
    if dry_run:
        return
    confirm("Restart these agents?", yes=yes)
    sys.exit(start(described, plan, reason=reason, as_json=output == "json"))


async def _observed(
    cloud: "Cloud", hosts: Sequence[str]
) -> "tuple[AgentsObservation, list[AgentDiagnosis]]":
    from backstay.health.rpc.agents import diagnose_agents

    async with open_session(cloud) as session:
        return await diagnose_agents(session, hosts or None)


def _actions(judged: "Sequence[AgentDiagnosis]", plan: "Plan | None") -> dict[int, str]:
    """Return what will be done about each agent, by its place."""
    from backstay.health.rpc.diagnosis import Signature
    from backstay.runbooks.reattach.steps import among, targets_of

    batches = [step for step in plan.steps if step.action == "restart"] if plan else []
    found = {}
    for at, agent in enumerate(judged):
        step = next((step for step in batches if among(targets_of(step))(agent)), None)
        if agent.signature is Signature.ATTACHED:
            continue
        if agent.signature is Signature.SETTLING and agent.seen.agent.in_service:
            found[at] = "wait; restart it only if it does not attach by itself"
        elif step is not None:
            unit = agent.seen.rpc_endpoint.unit
            found[at] = f"restart {unit} ({step.id.replace('restart-', 'batch ')})"
        else:
            found[at] = f"not restarted: {agent.remedy}"
    return found


def _show(
    observed: "AgentsObservation",
    judged: "Sequence[AgentDiagnosis]",
    actions: Mapping[int, str],
    plan: "Plan | None",
) -> None:
    from backstay.cli.output.agents import agents_table
    from backstay.cli.output.run import plan_table

    table = agents_table(judged, actions, width=terminal_width(), broker_up=observed.broker.up)
    echo(table, nl=False)
    if plan is not None:
        echo("\n" + plan_table(plan), nl=False)


def _document(
    judged: "Sequence[AgentDiagnosis]", actions: Mapping[int, str], plan: "Plan | None"
) -> str:
    from backstay.cli.output.agents import agents_document

    document = plan.document() if plan else None
    return json.dumps({"agents": agents_document(judged, actions), "plan": document}, indent=2)


def _without_a_plan(judged: "Sequence[AgentDiagnosis]") -> ExitStatus:
    from backstay.health.rpc.diagnosis import Signature

    attached = all(
        one.signature is Signature.ATTACHED or not one.seen.agent.in_service for one in judged
    )
    return ExitStatus.OK if attached else ExitStatus.REFUSED
