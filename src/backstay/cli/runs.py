"""``backstay runs``: what was done, and what was left unfinished."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.execution import carry_out, newest_run, open_store, page_of, shown, whole_run
from backstay.cli.exit_status import RUN_STATUSES, ExitStatus, Refused, exit_statuses
from backstay.cli.group import show_error
from backstay.cli.options import (
    cloud_option,
    confirm,
    dry_run_option,
    output_option,
    run_argument,
    yes_option,
)
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.output.text import terminal_width
from backstay.cli.session import open_cloud

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.journal.records import RunRecord

_READING = exit_statuses(ok="shown", unknown="the journal cannot be read, or has no such run")


_LISTING = exit_statuses(
    ok="listed", warning="a run in it is damaged", unknown="the journal cannot be read"
)


@click.group()
def runs() -> None:
    """List and show runs in the journal; resume or abandon one that is unfinished."""


@runs.command("list", epilog=_LISTING)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many at most.",
)
@output_option
def list_runs(limit: int, output: str) -> None:
    """List the newest runs."""
    found, damaged = open_store().readable_runs(limit=limit)
    if output == "json":
        echo_json([asdict(run) for run in found])
    else:
        from backstay.cli.output.run import runs_table

        echo(runs_table(found), nl=False)
    for error in damaged:
        show_error(error)
    if damaged:
        sys.exit(ExitStatus.WARNING)


@runs.command(epilog=_READING)
@run_argument
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "html"]),
    default="table",
    show_default=True,
    help="Output format; html is a page with the timeline drawn.",
)
def show(run: str | None, output: str) -> None:
    """Show a RUN: its steps with times and results, and what was out meanwhile.

    Without RUN the newest unfinished one; where there is none, the newest.
    """
    store = open_store()
    found = newest_run(store, run, unfinished=False)
    if output == "json":
        echo(whole_run(store, found))
        return
    if output == "html":
        echo(page_of(store, found), nl=False)
        return
    from backstay.cli.output.run import run_text

    echo(run_text(found, store.events(found.id)) + shown(store, found), nl=False)


@runs.command(epilog=RUN_STATUSES)
@run_argument
@dry_run_option
@cloud_option
@output_option
def resume(run: str | None, dry_run: bool, cloud: Path | None, output: str) -> None:
    """Resume a RUN that was interrupted or failed, from where it stopped.

    Steps that are done are not repeated; the one that was under way is first checked. Without RUN
    the newest one that was started and is not finished.
    """
    store = open_store()
    found = newest_run(store, run, unfinished=True)
    if not found.state.in_flight:
        raise Refused(f"{found.id} is {found.state.value}: there is nothing to resume")
    described = open_cloud(cloud)
    _require_same(found, described)
    if dry_run:
        from backstay.cli.output.run import remaining_table

        echo(remaining_table(found), nl=False)
        return
    sys.exit(carry_out(described, store, found, as_json=output == "json"))


def _require_same(run: "RunRecord", cloud: "Cloud") -> None:
    """Raise Refused where the run is of another cloud, or of hosts that are gone."""
    if cloud.name != run.plan.cloud:
        raise Refused(
            f"{run.id} is of the cloud {run.plan.cloud}, {cloud.path} describes {cloud.name}",
            remedy="name the right file with --cloud",
        )
    known = {*cloud.hosts, *cloud.fenced}  # a fenced host's power may be cut
    gone = [name for name in run.plan.targets if name not in known]
    # A replacement whose last step has written cloud.yaml: its spare has the host's name now.
    if run.plan.targets and run.plan.targets[0] in {old.was for old in cloud.fenced.values()}:
        gone = [name for name in gone if name != run.plan.settings.get("spare")]
    if gone:
        raise Refused(
            f"{cloud.path} has no host {', '.join(gone)} any more",
            remedy=f"put it back, or: backstay runs abandon {run.id}",
        )


@runs.command(epilog=exit_statuses(ok="abandoned", refused="not confirmed, or the run is finished"))
@run_argument
@dry_run_option
@click.option("--reason", default="", help="Reason, recorded in the journal.")
@yes_option
def abandon(run: str | None, dry_run: bool, reason: str, yes: bool) -> None:
    """Give up a RUN that will not be resumed. What it has done stays as it is.

    Without RUN the newest one that was started and is not finished; with --yes a RUN is required.
    """
    from backstay.journal.engine import lock_names

    if yes and run is None:
        raise click.UsageError("with --yes name the RUN: the newest may be one that is carried out")
    store = open_store()
    found = newest_run(store, run, unfinished=True)
    if not found.state.in_flight:
        raise Refused(f"{found.id} is {found.state.value}: there is nothing to abandon")
    started = ", ".join(step.id for step in found.steps if step.attempts) or "none"
    if not yes or dry_run:
        text = f"{found.id} was carried out by {found.holder}; started steps: {started}"
        echo(click.wrap_text(text, terminal_width(), subsequent_indent="  "))
    if dry_run:
        echo(f"would abandon {found.id}")
        return
    confirm(f"Abandon {found.id}, leaving everything as it is now?", yes=yes)
    store.abandon(found.id, lock_names(found.plan), f"abandoned: {reason or 'no reason given'}")
    echo(f"{found.id} is abandoned; a process that still carries it out can change no more")
