"""``backstay backup restore``: put a backup back on its host."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backstay.cli.execution import carry_out, open_store
from backstay.cli.options import cloud_option, load_cloud, moment_named
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from backstay.backup.choice import RestorePoint
    from backstay.backup.place import Place
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.runbooks.restore.plan import RestoreOptions


@click.command()
@click.argument("name", metavar="HOST|BACKUP")
@click.option("--service", default="", metavar="SERVICE", help="Restore only this service.")
@click.option(
    "--to",
    "moment",
    default="backup",
    metavar="TIME|latest|backup",
    help="Replay the stream of the log up to then; a time is local without a zone.",
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask: for scripts.")
@click.option("--reason", default="", help="Why, for the journal.")
@cloud_option
@output_option
def restore(
    *,
    name: str,
    service: str,
    moment: str,
    dry_run: bool,
    yes: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Put the newest verified backup of a HOST back on it, or the BACKUP of that name.

    Everything is made and checked here first, and sent beside what is there; only then are the
    services stopped. What is replaced is kept on the host.

    Exit status: 0 done, 2 failed half-way (backstay runs resume), 4 refused, nothing changed.
    """
    from backstay.runbooks.restore.plan import plan as make
    from backstay.services.registry import all_services

    described = load_cloud(cloud)
    chosen = _chosen(described, name, service, moment_named(moment))
    made = make(described, chosen, all_services())
    if output != "json" or dry_run:
        _show(described, chosen, made)
    if dry_run:
        asyncio.run(_differences(described, chosen, as_json=output == "json"))
        return
    host = chosen.backup.host
    if not yes:
        if not _asks():
            raise click.ClickException("without a terminal this needs --yes")
        typed = click.prompt(
            f"What {host} has now is replaced. Type its name to go on",
            default="",
            show_default=False,
        )
        if typed.strip() != host:
            click.echo(f"that is not {host}: nothing has been changed", err=True)
            raise SystemExit(4)
    store = open_store()
    run = store.create(made, reason=reason)
    sys.exit(carry_out(described, store, store.run(run), as_json=output == "json"))


def _asks() -> bool:
    """Say whether there is somebody to ask."""
    return sys.stdin.isatty()


def _show(cloud: "Cloud", chosen: "RestoreOptions", plan: "Plan") -> None:
    """Print what is put back, what that loses, and the plan."""
    from backstay.backup.loss import losses, stream_of
    from backstay.cli.output.backups import before

    now, backup = datetime.now(UTC), chosen.backup
    lost = []
    if any(step.action == "rebuild" for step in plan.steps):
        lost = losses(
            backup, chosen.to, stream_of(backup, _place(cloud).logs(backup.host)), now=now
        )
    click.echo(before(plan, chosen, lost, now=now), nl=False)


def _chosen(cloud: "Cloud", name: str, service: str, to: "RestorePoint") -> "RestoreOptions":
    """Return what is to be restored. Raises BackupError and what click tells."""
    from backstay.backup.choice import choose
    from backstay.runbooks.restore.plan import RestoreOptions, services_of
    from backstay.services.registry import all_services

    place = _place(cloud)
    if name in cloud.hosts:
        backup = choose(place.catalogue.backups(), name, to, now=datetime.now(UTC))
    else:
        backup = place.catalogue.named(name)
    if backup.host not in cloud.hosts:
        raise click.ClickException(f"{cloud.path} has no host {backup.host}: add it first")
    if service:
        there = services_of(cloud, backup.host, all_services(), "")
        found = [one for one in there if one.name == service]
        if not found:
            names = ", ".join(one.name for one in there if not one.keeps_databases)
            raise click.BadParameter(f"{backup.host} has {names}", param_hint="--service")
        if found[0].keeps_databases:
            raise click.BadParameter(
                f"{service} keeps the databases of all services: restore the whole host",
                param_hint="--service",
            )
    return RestoreOptions(backup=backup, to=to, service=service)


def _place(cloud: "Cloud") -> "Place":
    from backstay.backup.place import Place

    return Place(cloud)


async def _differences(cloud: "Cloud", chosen: "RestoreOptions", *, as_json: bool) -> None:
    """Print what would change on the host, which is only asked."""
    from backstay.cli.output.backups import differences_text
    from backstay.cli.session import open_session
    from backstay.runbooks.restore.difference import difference

    async with open_session(cloud) as site:
        found: Any = await difference(site, _place(cloud), chosen)
    click.echo(differences_text(found, as_json=as_json), nl=False)
