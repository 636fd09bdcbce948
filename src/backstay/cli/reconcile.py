"""``backstay reconcile``: records against what really exists."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.execution import start
from backstay.cli.exit_status import ExitStatus, exit_statuses
from backstay.cli.options import (
    cloud_option,
    confirm,
    dry_run_option,
    output_option,
    reason_option,
    skip_healthy_option,
    yes_option,
)
from backstay.cli.output.terminal import echo
from backstay.cli.output.text import terminal_width
from backstay.cli.session import open_cloud, open_session

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.runbooks.reconcile.comparison import ReconcileObservation


@click.command(
    epilog=exit_statuses(
        ok="nothing differs (any more)",
        warning="something differs",
        failed="a repair failed (backstay runs resume)",
        unknown="something could not be read",
        refused="another run has the cloud's lock",
    )
)
@click.option("--apply", "repairing", is_flag=True, help="Repair what is safe to repair.")
@dry_run_option
@skip_healthy_option
@yes_option
@reason_option
@cloud_option
@output_option
def reconcile(  # options come by name
    *,
    repairing: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Compare the services' records with what really exists, as after a restore.

    It shows what differs, each with a proposal, and changes nothing. With --apply it repairs what
    is safe: no guest and no data can be lost by that. The rest is for a person to decide.
    """
    from backstay.runbooks.reconcile.plan import plan as make

    described, as_json = open_cloud(cloud), output == "json"
    observed = asyncio.run(_observed(described))
    plan = make(described, observed.mismatches) if repairing else None
    if not as_json:
        _show(observed)
    if dry_run or plan is None:
        if as_json:
            _document(observed)
        elif plan is not None:
            _show_plan(plan)
        sys.exit(status_of(observed))
    if not yes:
        _show_plan(plan, err=as_json)
    confirm("Repair these?", yes=yes, err=as_json)
    status = start(described, plan, reason=reason, as_json=as_json)
    if status != ExitStatus.OK:
        sys.exit(status)
    after = asyncio.run(_observed(described))
    if not as_json and after.mismatches:
        _show(after)
    sys.exit(status_of(after))


def status_of(observed: "ReconcileObservation") -> ExitStatus:
    """Return the exit status; unknown outranks: what was not read may differ, too."""
    if observed.missing:
        return ExitStatus.UNKNOWN
    return ExitStatus.WARNING if observed.mismatches else ExitStatus.OK


async def _observed(cloud: "Cloud") -> "ReconcileObservation":
    from backstay.runbooks.reconcile.observe import mismatches

    async with open_session(cloud) as session:
        return await mismatches(session)


def _show(observed: "ReconcileObservation") -> None:
    from backstay.cli.output.reconcile import reconcile_table

    echo(reconcile_table(observed, width=terminal_width()), nl=False)


def _show_plan(plan: "Plan", *, err: bool = False) -> None:
    from backstay.cli.output.run import plan_table

    echo("\n" + plan_table(plan), nl=False, err=err)


def _document(observed: "ReconcileObservation") -> None:
    from backstay.cli.output.reconcile import reconcile_document

    echo(reconcile_document(observed))
