"""``backstay backup restore``: put a backup back on its host."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backstay.cli import completion
from backstay.cli.execution import start
from backstay.cli.exit_status import RUN_STATUSES, Refused
from backstay.cli.options import (
    RestorePointType,
    cloud_option,
    confirm_name,
    dry_run_option,
    output_option,
    reason_option,
    skip_healthy_option,
    yes_option,
)
from backstay.cli.output.terminal import echo
from backstay.cli.session import backups_of, open_cloud, open_session

if TYPE_CHECKING:
    from backstay.backup.restore_point import RestorePoint
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.runbooks.restore.plan import RestoreOptions


@click.command(epilog=RUN_STATUSES)
@click.argument("name", metavar="HOST|BACKUP", shell_complete=completion.backups_and_hosts)
@click.option(
    "--service",
    default="",
    metavar="SERVICE",
    shell_complete=completion.services,
    help="Restore only this service.",
)
@click.option(
    "--to",
    "moment",
    type=RestorePointType(),
    default="backup",
    metavar="TIME|latest|backup",
    help="Replay the binary log up to then; a time without a zone is local.",
)
@dry_run_option
@skip_healthy_option
@yes_option
@reason_option
@cloud_option
@output_option
def restore(
    *,
    name: str,
    service: str,
    moment: "RestorePoint",
    dry_run: bool,
    yes: bool,
    reason: str,
    cloud: Path | None,
    output: str,
) -> None:
    """Put the newest verified backup of a HOST back on it, or the BACKUP of that name.

    Everything is first made and checked on this machine, and copied to the host beside its data;
    only then are the services stopped. What is replaced is kept on the host.
    """
    from backstay.runbooks.restore.here import require_here
    from backstay.runbooks.restore.plan import plan as make
    from backstay.services.registry import all_services

    described, as_json = open_cloud(cloud), output == "json"
    chosen = _chosen(described, name, service, moment)
    made = make(described, chosen, all_services())
    if not as_json or dry_run:
        _show(described, chosen, made, err=as_json)
    if dry_run:
        asyncio.run(_differences(described, chosen, as_json=as_json))
    asyncio.run(require_here(made, chosen, f"restoring {chosen.backup.name}"))
    if dry_run:
        return
    host = chosen.backup.host
    confirm_name(f"This will replace what {host} has now", host, yes=yes)
    sys.exit(start(described, made, reason=reason, as_json=as_json))


def _show(cloud: "Cloud", chosen: "RestoreOptions", plan: "Plan", *, err: bool) -> None:
    """Print what is put back, what that loses, and the plan."""
    from backstay.backup.restore_point import losses, stream_of
    from backstay.cli.output.backups import before

    now, backup = datetime.now(UTC), chosen.backup
    lost = []
    if any(step.action == "rebuild" for step in plan.steps):
        lost = losses(
            backup, chosen.to, stream_of(backup, backups_of(cloud).logs(backup.host)), now=now
        )
    echo(before(plan, chosen, lost, now=now), nl=False, err=err)


def _chosen(cloud: "Cloud", name: str, service: str, to: "RestorePoint") -> "RestoreOptions":
    """Return what is to be restored. Raises BackupError, Refused and click's errors."""
    from backstay.backup.restore_point import choose
    from backstay.runbooks.restore.plan import RestoreOptions, services_of
    from backstay.services.registry import all_services

    place = backups_of(cloud)
    if name in cloud.hosts:
        backup = choose(place.catalogue.backups(), name, to, now=datetime.now(UTC))
    else:
        backup = place.catalogue.named(name)
    if backup.host not in cloud.hosts:
        raise Refused(
            f"{cloud.path} has no host {backup.host}", remedy="add it there, then try again"
        )
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


async def _differences(cloud: "Cloud", chosen: "RestoreOptions", *, as_json: bool) -> None:
    """Print what would change on the host, which is only read."""
    from backstay.cli.output.backups import differences_text
    from backstay.runbooks.restore.difference import difference

    async with open_session(cloud) as session:
        found: Any = await difference(session, backups_of(cloud), chosen)
    echo(differences_text(found, as_json=as_json), nl=False)
