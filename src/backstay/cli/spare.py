"""``backstay spare``: prepare a spare before it is needed, and show for what it is prepared."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backstay.cli import completion
from backstay.cli.execution import start
from backstay.cli.exit_status import RUN_STATUSES, ExitStatus, exit_statuses
from backstay.cli.options import cloud_option, dry_run_option, output_option, reason_option
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.session import backups_of, open_cloud, open_session, require_hosts

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud


@click.group()
def spare() -> None:
    """Prepare spares ahead of time, so that a replacement takes less."""


@spare.command(epilog=RUN_STATUSES)
@click.argument("name", metavar="SPARE", shell_complete=completion.spares)
@click.option(
    "--for",
    "host",
    required=True,
    metavar="HOST",
    shell_complete=completion.hosts,
    help="Host that the spare will replace.",
)
@dry_run_option
@reason_option
@cloud_option
@output_option
def prepare(
    *, name: str, host: str, dry_run: bool, reason: str, cloud: Path | None, output: str
) -> None:
    """Install the packages of HOST on SPARE and copy large files to it; nothing is started.

    They are those of the newest verified backup. Repeat it after packages were upgraded: that is
    quick.
    """
    from backstay.backup.restore_point import RestorePoint, choose
    from backstay.cli.output.run import show_plan
    from backstay.runbooks.spare import plan

    described, as_json = open_cloud(cloud), output == "json"
    _require_spare(described, name)
    require_hosts([host], described, hint="--for")
    now = datetime.now(UTC)
    catalogue = backups_of(described).catalogue
    backup = choose(catalogue.backups(), host, RestorePoint(), now=now)
    made = plan(described, name, backup, now=now)
    if dry_run:
        show_plan(made, as_json=as_json)
        return
    sys.exit(start(described, made, reason=reason, as_json=as_json))


@spare.command(
    epilog=exit_statuses(
        ok="all are prepared",
        warning="one is not, or its host has newer packages",
        unknown="one does not answer",
    )
)
@click.argument("names", nargs=-1, metavar="[SPARE]...", shell_complete=completion.spares)
@cloud_option
@output_option
def status(names: tuple[str, ...], cloud: Path | None, output: str) -> None:
    """Show for which host each spare is prepared, and how much has changed since."""
    described = open_cloud(cloud)
    for name in names:
        _require_spare(described, name)
    found = asyncio.run(_statuses(described, names))
    if output == "json":
        echo_json(found)
    for one in found if output != "json" else ():
        echo(f"{one['spare']}: {_describe(one)}")
    if not found and output != "json":
        echo(f"{described.path} has no host with the role spare")
    states = {one["state"] for one in found}
    if "unknown" in states:
        sys.exit(ExitStatus.UNKNOWN)
    sys.exit(ExitStatus.OK if states == {"prepared"} else ExitStatus.WARNING)


def _require_spare(cloud: "Cloud", name: str) -> None:
    from backstay.inventory.enums import Role

    spares = [host.name for host in cloud.with_role(Role.SPARE)]
    if name not in spares:
        raise click.BadParameter(
            f"{name} is not a spare of {cloud.path}; spares: {', '.join(spares) or 'none'}",
            param_hint="SPARE",
        )


async def _statuses(cloud: "Cloud", names: tuple[str, ...]) -> list[dict[str, Any]]:
    from backstay.inventory.enums import Role
    from backstay.runbooks.spare import readiness

    wanted = names or tuple(host.name for host in cloud.with_role(Role.SPARE))
    async with open_session(cloud) as session:
        return list(await asyncio.gather(*(readiness(session, name) for name in wanted)))


def _describe(one: dict[str, Any]) -> str:
    from backstay.quantities import duration

    if one["state"] == "unknown":
        return f"UNKNOWN: {one['error']}"
    if one["state"] == "bare":
        return f"not prepared: backstay spare prepare {one['spare']} --for HOST"
    age = duration(time.time() - one["at"])
    text: str = f"prepared for {one['for']} {age} ago, from {one['backup']}"
    if one["state"] == "prepared":
        return text
    return (
        f"{text}; {one['behind']} packages differ from its newest backup: "
        f"backstay spare prepare {one['spare']} --for {one['for']}"
    )
