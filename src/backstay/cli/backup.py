"""``backstay backup``: take backups of hosts, prove them, keep the right ones."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.check import known_hosts
from backstay.cli.execution import DONE, carry_out, open_store
from backstay.cli.lazy import Elsewhere, LazyGroup
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from backstay.backup.place import Place
    from backstay.inventory.backup import Keep
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan

_PRUNE_BOUND = 3600.0


# One line for each command that lives in a module of its own.
ELSEWHERE: Elsewhere = {
    "restore": ("backstay.cli.backup_restore", "restore", "Put a backup back on its host."),
    "stream": ("backstay.cli.backup_stream", "stream", "Keep receiving the binary log."),
    "schedule": ("backstay.cli.backup_schedule", "schedule", "Let a timer take backups."),
}


@click.group(cls=LazyGroup, elsewhere=ELSEWHERE)
def backup() -> None:
    """Take backups of hosts, prove them by restoring them, keep the right ones."""


@backup.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--verify/--no-verify", default=False, help="Prove each backup when it is taken.")
@click.option("--prune", "then_prune", is_flag=True, help="When all is well, prune.")
@click.option("--reason", default="", help="Why, for the journal.")
@cloud_option
@output_option
def create(
    *,
    hosts: tuple[str, ...],
    verify: bool,
    then_prune: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Back up HOSTs; without any, the controllers and storage proxies.

    Nothing half-taken is ever listed: a backup is in the catalogue when all of it is stored.
    """
    from backstay.backup.selection import usual_hosts
    from backstay.runbooks.backup.plan import plan
    from backstay.services.registry import all_services

    described = load_cloud(cloud)
    known_hosts(hosts, described)
    made = plan(described, hosts or usual_hosts(described), all_services(), verify=verify)
    status = _carry(described, made, reason, as_json=output == "json")
    if then_prune and status == DONE:
        _prune(_place(described), described.backup.keep, to_stderr=output == "json")
    sys.exit(status)


@backup.command()
@click.argument("name", metavar="BACKUP|HOST")
@cloud_option
@output_option
def verify(name: str, cloud: Path | None, output: str) -> None:
    """Prove a BACKUP, or the newest one of a HOST: restore it into a scratch server and look."""
    from backstay.runbooks.backup.plan import verify_plan

    described = load_cloud(cloud)
    found = _place(described).catalogue.named(name)
    made = verify_plan(described, found.host, found.name)
    sys.exit(_carry(described, made, f"verify {found.name}", as_json=output == "json"))


@backup.command("list")
@cloud_option
@output_option
def list_backups(cloud: Path | None, output: str) -> None:
    """List the backups, the newest first, with their states."""
    place = _place(load_cloud(cloud))
    found = place.catalogue.backups()
    if output == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    elif found:
        from backstay.cli.output.backups import backups_table

        click.echo(backups_table(found), nl=False)
    else:
        click.echo(f"no backups in {place.folder}: backstay backup create --verify")


@backup.command()
@click.argument("name", metavar="BACKUP|HOST")
@cloud_option
@output_option
def show(name: str, cloud: Path | None, output: str) -> None:
    """Show what is in a BACKUP, or in the newest one of a HOST, and what proves it."""
    found = _place(load_cloud(cloud)).catalogue.named(name)
    if output == "json":
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        from backstay.cli.output.backups import backup_text

        click.echo(backup_text(found), nl=False)


@backup.command()
@click.option("--dry-run", is_flag=True, help="Only say which would go.")
@cloud_option
def prune(dry_run: bool, cloud: Path | None) -> None:
    """Remove the backups that `keep` does not hold, never the last verified one of a host.

    With them go the binary logs that no backup needs any more.
    """
    described = load_cloud(cloud)
    _prune(_place(described), described.backup.keep, dry_run=dry_run)


def _prune(place: "Place", keep: "Keep", *, dry_run: bool = False, to_stderr: bool = False) -> None:
    from backstay.backup.mariadb.logs import not_needed
    from backstay.backup.retention import to_forget

    hosts = {one.host for one in place.catalogue.backups()}
    going = [
        one for host in sorted(hosts) for one in to_forget(place.catalogue.backups(host=host), keep)
    ]
    kept = [one for one in place.catalogue.backups() if one not in going]
    logs = [
        file
        for host in sorted(hosts)
        for file in not_needed(
            place.logs(host).incarnations(), [one for one in kept if one.host == host]
        )
    ]
    word = "would remove" if dry_run else "removes"
    for one in going:
        click.echo(f"{word} {one.name} ({one.state})", err=to_stderr)
    for file in logs:
        click.echo(f"{word} {file}: no backup needs it", err=to_stderr)
    if not going and not logs:
        click.echo("nothing to remove", err=to_stderr)
    if dry_run:
        return
    for one in going:
        place.begin(one.name)
    if going:
        # From the catalogue first: none is listed whose data are gone.
        place.catalogue.remove([one.name for one in going])
        snapshots = [snapshot for one in going for snapshot in one.snapshots.values()]
        asyncio.run(place.restic().forget(snapshots, prune=True, bound=_PRUNE_BOUND))
    for one in going:
        place.end(one.name)
    for file in logs:
        file.unlink(missing_ok=True)
    for host in sorted(hosts):
        if (at := place.catalogue.verified_at(host)) is not None:
            place.followed(host).drop_before(at)


def _carry(cloud: "Cloud", plan: "Plan", reason: str, *, as_json: bool) -> int:
    store = open_store()
    run = store.create(plan, reason=reason)
    return carry_out(cloud, store, store.run(run), as_json=as_json)


def _place(cloud: "Cloud") -> "Place":
    from backstay.backup.place import Place

    return Place(cloud)
