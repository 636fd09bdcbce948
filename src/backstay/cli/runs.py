"""``backstay runs``: what was done, and what was left half-way."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from backstay.cli.execution import carry_out, open_store, page_of, shown, whole_run
from backstay.cli.options import cloud_option, load_cloud

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)


@click.group()
def runs() -> None:
    """Look at runs in the journal, go on with one that stopped, or give it up."""


@runs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@output_option
def list_runs(limit: int, output: str) -> None:
    """List the newest runs."""
    found = open_store().runs(limit=limit)
    if output == "json":
        click.echo(json.dumps([asdict(run) for run in found], indent=2))
        return
    from backstay.cli.output.run import runs_table

    click.echo(runs_table(found), nl=False)


@runs.command()
@click.argument("run")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "html"]),
    default="table",
    show_default=True,
    help="For people, for programs, or a page with the timeline drawn.",
)
def show(run: str, output: str) -> None:
    """Show a RUN step by step: when what was done, what came of it, and what was out meanwhile."""
    store = open_store()
    found = store.run(run)
    if output == "json":
        click.echo(whole_run(store, found))
        return
    if output == "html":
        click.echo(page_of(store, found), nl=False)
        return
    from backstay.cli.output.run import run_text

    click.echo(run_text(found, store.events(found.id)) + shown(store, found), nl=False)


@runs.command()
@click.argument("run")
@cloud_option
@output_option
def resume(run: str, cloud: Path | None, output: str) -> None:
    """Go on with a RUN that was interrupted or that failed, from where it is.

    Steps that are done are not repeated; the one under way is first looked at.
    """
    store = open_store()
    found = store.run(run)
    if not found.state.in_flight:
        raise click.ClickException(f"{found.id} is {found.state.value}: there is nothing to resume")
    described = load_cloud(cloud)
    if described.name != found.plan.cloud:
        raise click.ClickException(
            f"{found.id} is of the cloud {found.plan.cloud}, {described.path} describes "
            f"{described.name}: name the right file with --cloud"
        )
    gone = [name for name in found.plan.targets if name not in described.hosts]
    # A replacement whose last step has written cloud.yaml: its spare has the host's name now.
    if found.plan.targets[0] in {old.was for old in described.fenced.values()}:
        gone = [name for name in gone if name != found.plan.settings.get("spare")]
    if gone:
        raise click.ClickException(
            f"{described.path} has no host {', '.join(gone)} any more: put it back, or "
            f"backstay runs abandon {found.id}"
        )
    sys.exit(carry_out(described, store, found, as_json=output == "json"))


@runs.command()
@click.argument("run")
@click.option("--reason", default="", help="Why, for those who read the journal later.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def abandon(run: str, reason: str, yes: bool) -> None:
    """Give up a RUN that will not be resumed. What it has done stays as it is."""
    from backstay.journal.engine import lock_names

    store = open_store()
    found = store.run(run)
    if not found.state.in_flight:
        raise click.ClickException(
            f"{found.id} is {found.state.value}: there is nothing to abandon"
        )
    if not yes:
        if not sys.stdin.isatty():
            raise click.ClickException("without a terminal this needs --yes")
        begun = [step.id for step in found.steps if step.attempts]
        click.echo(f"{found.id} was carried out by {found.holder}; begun: {', '.join(begun)}")
        click.confirm("Give it up, leaving everything as it is now?", abort=True)
    store.abandon(found.id, lock_names(found), f"abandoned: {reason or 'no reason given'}")
    click.echo(f"{found.id} is abandoned; whoever still carries it out can change nothing more")
