"""``backstay backup``: take backups of hosts, verify them, keep the right ones."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.execution import start
from backstay.cli.exit_status import RUN_STATUSES, ExitStatus, Refused, exit_statuses
from backstay.cli.group import Elsewhere, LazyGroup, show_error
from backstay.cli.options import (
    backup_argument,
    cloud_option,
    confirm,
    dry_run_option,
    hosts_argument,
    optional_host_argument,
    output_option,
    reason_option,
    yes_option,
)
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.session import backups_of, open_cloud, require_hosts

if TYPE_CHECKING:
    from backstay.backup.prune import Removal
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan

_LISTING = exit_statuses(
    ok="listed", warning="a file of the catalogue is damaged", unknown="it cannot be read"
)
_READING = exit_statuses(ok="shown", unknown="the catalogue cannot be read, or has none of it")

# One line for each command that lives in a module of its own.
ELSEWHERE: Elsewhere = {
    "restore": ("backstay.cli.backup_restore", "restore", "Put a backup back on its host."),
    "stream": ("backstay.cli.backup_stream", "stream", "Receive the binary log continuously."),
    "schedule": ("backstay.cli.backup_schedule", "schedule", "Take backups by a systemd timer."),
}


@click.group(cls=LazyGroup, elsewhere=ELSEWHERE)
def backup() -> None:
    """Take backups of hosts, verify them by restoring them, keep the right ones."""


@backup.command(epilog=RUN_STATUSES)
@hosts_argument
@click.option("--verify/--no-verify", default=False, help="Verify each backup when it is taken.")
@click.option("--prune", "then_prune", is_flag=True, help="Prune when all backups are taken.")
@dry_run_option
@reason_option
@cloud_option
@output_option
def create(
    *,
    hosts: tuple[str, ...],
    verify: bool,
    then_prune: bool,
    dry_run: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Back up HOSTs; without any, the controllers and storage proxies.

    A backup is listed in the catalogue only when all of it is stored.
    """
    from backstay.backup.requirements import Task, require
    from backstay.backup.selection import keeps_databases, usual_hosts
    from backstay.cli.output.run import show_plan
    from backstay.runbooks.backup.plan import plan
    from backstay.services.registry import all_services

    described, as_json = open_cloud(cloud), output == "json"
    require_hosts(hosts, described)
    chosen = hosts or usual_hosts(described)
    made = plan(described, chosen, all_services(), verify=verify, prune=then_prune)
    if dry_run:
        show_plan(made, as_json=as_json)
    served = verify and any(
        keeps_databases(described, described.hosts[host], all_services()) for host in chosen
    )
    require([Task.STORE, *([Task.SERVE] if served else [])], "taking backups")
    if dry_run:
        return
    sys.exit(start(described, made, reason=reason, as_json=as_json))


@backup.command(epilog=RUN_STATUSES)
@backup_argument
@dry_run_option
@cloud_option
@output_option
def verify(name: str, dry_run: bool, cloud: Path | None, output: str) -> None:
    """Verify a BACKUP, or the newest one of a HOST: restore it into a scratch server and check."""
    from backstay.backup.requirements import Task, require
    from backstay.cli.output.run import show_plan
    from backstay.runbooks.backup.plan import verify_plan

    described, as_json = open_cloud(cloud), output == "json"
    found = backups_of(described).catalogue.named(name)
    made = verify_plan(described, found.host, found.name)
    if dry_run:
        show_plan(made, as_json=as_json)
    tasks = [Task.STORE, *([Task.SERVE] if "database" in found.snapshots else [])]
    require(tasks, f"verifying {found.name}")
    if dry_run:
        return
    sys.exit(start(described, made, reason=f"verify {found.name}", as_json=as_json))


@backup.command("list", epilog=_LISTING)
@optional_host_argument
@cloud_option
@output_option
def list_backups(host: str | None, cloud: Path | None, output: str) -> None:
    """List the backups, of HOST or of all hosts, the newest first, with their states."""
    place = backups_of(open_cloud(cloud))
    found, damaged = place.catalogue.readable(host=host)
    for error in damaged:
        show_error(error)
    if output == "json":
        echo_json([asdict(backup) for backup in found])
    elif found:
        from backstay.cli.output.backups import backups_table

        echo(backups_table(found), nl=False)
    elif not damaged:
        of = f" of {host}" if host else ""
        create = f"backstay backup create {f'{host} ' if host else ''}--verify"
        echo(f"no backups{of} in {place.folder}: {create}")
    if damaged:
        sys.exit(ExitStatus.WARNING)


@backup.command(epilog=_READING)
@backup_argument
@cloud_option
@output_option
def show(name: str, cloud: Path | None, output: str) -> None:
    """Show what is in a BACKUP, or in the newest one of a HOST, and how it was verified."""
    found = backups_of(open_cloud(cloud)).catalogue.named(name)
    if output == "json":
        echo_json(asdict(found))
    else:
        from backstay.cli.output.backups import backup_text

        echo(backup_text(found), nl=False)


@backup.command(epilog=RUN_STATUSES)
@dry_run_option
@yes_option
@reason_option
@cloud_option
@output_option
def prune(*, dry_run: bool, yes: bool, reason: str, cloud: Path | None, output: str) -> None:
    """Remove the backups that `keep` does not hold, never the last verified one of a host.

    With them, the binary logs that no backup needs any more. It works without the journal, too:
    where its disk is full.
    """
    from backstay.backup.prune import removal
    from backstay.journal.records import JournalError, LeaseLost
    from backstay.runbooks.backup.plan import prune_plan

    described, as_json = open_cloud(cloud), output == "json"
    going = removal(backups_of(described), described.backup.keep)
    _show(going, err=as_json)
    if dry_run or not going:
        return
    confirm("Remove these permanently?", yes=yes, err=as_json)
    plan = prune_plan(described, going)
    try:
        sys.exit(start(described, plan, reason=reason, as_json=as_json))
    except LeaseLost:
        raise
    except JournalError as error:
        # Where the journal's disk is full, this is what makes space on it.
        echo(f"backstay: removing without a record in the journal: {error}", err=True)
        _prune_unrecorded(described, plan, as_json=as_json)


def _prune_unrecorded(cloud: "Cloud", plan: "Plan", *, as_json: bool) -> None:
    """Remove what the plan names under the locks of its run. Raises Refused."""
    from backstay.backup.prune import prune
    from backstay.journal.engine import lock_names
    from backstay.journal.locks import LockHeld, held
    from backstay.journal.place import locks_url

    place, named = backups_of(cloud), plan.steps[0].arguments

    async def removed() -> "Removal":
        async with held(locks_url(), lock_names(plan), lambda _: ""):
            return await prune(place, cloud.backup.keep, named)

    try:
        going = asyncio.run(removed())
    except LockHeld as error:
        raise Refused(str(error), remedy=error.remedy) from error
    names, logs = going.names(), [str(file) for file in going.logs]
    if as_json:
        echo_json({"recorded": False, "backups": names, "logs": logs})
    else:
        echo(f"removed: {', '.join([*names, *logs]) or 'nothing'}")


def _show(going: "Removal", *, err: bool) -> None:
    for backup in going.backups:
        echo(f"would remove {backup.name} ({backup.state})", err=err)
    for file in going.logs:
        echo(f"would remove {file}: no backup needs it", err=err)
    for host, count in going.followed.items():
        files = f"{count} file{'s' * (count != 1)}"
        echo(f"would remove {files} received from {host}: in a verified backup", err=err)
    for name in going.left:
        echo(f"would remove what an interrupted prune has left of {name}", err=err)
    if not going:
        echo("nothing to remove", err=err)
