"""``backstay reconcile``: records against what really exists."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.execution import DONE, carry_out, open_store
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option
from backstay.cli.session import open_session

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.runbooks.reconcile.comparison import ReconcileObservation

NOTHING, DIFFERS, UNKNOWN = 0, 1, 2
"""Exit statuses of a look; unknown outranks: what was not seen may differ, too."""


@click.command()
@click.option("--apply", "healing", is_flag=True, help="Heal those that are safe to heal.")
@click.option("--dry-run", is_flag=True, help="Only look, and show: this is what it does anyway.")
@click.option("--yes", is_flag=True, help="Do not ask: for scripts.")
@click.option("--reason", default="", help="Why, for the journal.")
@cloud_option
@output_option
def reconcile(  # options come by name
    *,
    healing: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Compare the services' records with what really exists, as after a restore.

    It shows what differs, each with a proposal, and changes nothing. With --apply it heals those
    that are safe: no guest and no data can be lost by that. The rest is for a person.

    Exit status: 0 nothing differs (any more), 1 something does, 2 something could not be asked; 3
    for an error, 4 where another run has the cloud's lock.
    """
    if healing and dry_run:
        raise click.UsageError("--apply changes something, --dry-run does not: choose one")
    from backstay.runbooks.reconcile.plan import plan as make

    described = load_cloud(cloud)
    looked = asyncio.run(_looked(described))
    plan = make(described, looked.mismatches)
    as_json = output == "json"
    if not as_json:
        _show(looked)
    if not healing or plan is None:
        if as_json:
            _document(looked)
        sys.exit(status_of(looked))
    if not yes:
        if not sys.stdin.isatty():
            raise click.ClickException("without a terminal this needs --yes")
        from backstay.cli.output.run import plan_table

        click.echo("\n" + plan_table(plan), nl=False, err=as_json)
        click.confirm("Do it?", abort=True, err=as_json)
    store = open_store()
    run = store.create(plan, reason=reason)
    status = carry_out(described, store, store.run(run), as_json=as_json)
    if status != DONE:
        sys.exit(status)
    after = asyncio.run(_looked(described))
    if not as_json and after.mismatches:
        _show(after)
    sys.exit(status_of(after))


def status_of(looked: "ReconcileObservation") -> int:
    """Return the exit status of a look."""
    if looked.missing:
        return UNKNOWN
    return DIFFERS if looked.mismatches else NOTHING


async def _looked(cloud: "Cloud") -> "ReconcileObservation":
    from backstay.runbooks.reconcile.observe import mismatches

    async with open_session(cloud) as site:
        return await mismatches(site)


def _show(looked: "ReconcileObservation") -> None:
    from backstay.cli.output.reconcile import reconcile_table

    width = max(60, min(110, shutil.get_terminal_size().columns))
    click.echo(reconcile_table(looked, width=width), nl=False)


def _document(looked: "ReconcileObservation") -> None:
    from backstay.cli.output.reconcile import reconcile_document

    click.echo(reconcile_document(looked))
