"""``backstay reattach``: find agents that take no work, restart only those."""

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.check import known_hosts
from backstay.cli.execution import DONE, REFUSED, carry_out, open_store
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option
from backstay.cli.session import open_session

if TYPE_CHECKING:
    from backstay.health.rpc.diagnosis import AgentDiagnosis
    from backstay.health.rpc.evidence import AgentsObservation
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan


@click.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option(
    "--at-a-time",
    type=click.IntRange(min=1),
    metavar="N",
    help="Restart so many agents at once; else one in twenty, and at least one.",
)
@click.option("--force", is_flag=True, help="Restart also those of which nothing is known.")
@click.option("--dry-run", is_flag=True, help="Look and show the plan; touch nothing.")
@click.option("--yes", is_flag=True, help="Do not ask: for scripts.")
@click.option("--reason", default="", help="Why, for the journal.")
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
    """Find the agents that look alive and take no work, and restart only those.

    Every agent is called by a message; it is attached where the answer comes. One that merely
    settles after the broker came back is left alone. With HOSTs, only the agents on them.

    Exit status: 0 all are attached, 2 some could not be helped (backstay runs resume), 4 nothing
    has been changed and no restart would help.
    """
    from backstay.runbooks.reattach.plan import plan as make

    described = load_cloud(cloud)
    known_hosts(hosts, described)
    looked, judged = asyncio.run(_seen(described, hosts))
    plan = make(described, judged, at_a_time=at_a_time, force=force)
    actions = _actions(judged, plan)
    if output != "json":
        _show(looked, judged, actions, plan)
    elif dry_run or plan is None:
        click.echo(_document(judged, actions, plan))
    if plan is None:
        sys.exit(_without_a_plan(judged))
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.ClickException("without a terminal this needs --yes")
        click.confirm("Do it?", abort=True)
    store = open_store()
    run = store.create(plan, reason=reason)
    sys.exit(carry_out(described, store, store.run(run), as_json=output == "json"))


async def _seen(
    cloud: "Cloud", hosts: Sequence[str]
) -> "tuple[AgentsObservation, list[AgentDiagnosis]]":
    from backstay.health.rpc.agents import diagnose_agents

    async with open_session(cloud) as site:
        return await diagnose_agents(site, hosts or None)


def _actions(judged: "Sequence[AgentDiagnosis]", plan: "Plan | None") -> dict[int, str]:
    """Return what will be done about each agent, by its place."""
    from backstay.health.rpc.diagnosis import Signature
    from backstay.runbooks.reattach.actions import among
    from backstay.runbooks.reattach.plan import targets_of

    batches = [step for step in plan.steps if step.action == "restart"] if plan else []
    found = {}
    for at, one in enumerate(judged):
        step = next((step for step in batches if among(targets_of(step))(one)), None)
        if one.signature is Signature.ATTACHED:
            continue
        if one.signature is Signature.SETTLING:
            found[at] = "wait; restart it only if it does not come by itself"
        elif step is not None:
            found[at] = (
                f"restart {one.seen.rpc_endpoint.unit} ({step.id.replace('restart-', 'batch ')})"
            )
        else:
            found[at] = f"not restarted: {one.remedy}"
    return found


def _show(
    looked: "AgentsObservation",
    judged: "Sequence[AgentDiagnosis]",
    actions: Mapping[int, str],
    plan: "Plan | None",
) -> None:
    from backstay.cli.output.agents import agents_table
    from backstay.cli.output.run import plan_table

    width = max(60, min(120, shutil.get_terminal_size().columns))
    click.echo(agents_table(judged, actions, width=width, broker_up=looked.broker.up), nl=False)
    if plan is not None:
        click.echo("\n" + plan_table(plan), nl=False)


def _document(
    judged: "Sequence[AgentDiagnosis]", actions: Mapping[int, str], plan: "Plan | None"
) -> str:
    from backstay.cli.output.agents import agents_document

    document = plan.document() if plan else None
    return json.dumps({"agents": agents_document(judged, actions), "plan": document}, indent=2)


def _without_a_plan(judged: "Sequence[AgentDiagnosis]") -> int:
    from backstay.health.rpc.diagnosis import Signature

    well = all(one.signature is Signature.ATTACHED for one in judged)
    return DONE if well else REFUSED
