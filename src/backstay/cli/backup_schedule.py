"""``backstay backup schedule``: a systemd timer takes, verifies and prunes backups."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.exit_status import ExitStatus, exit_statuses
from backstay.cli.options import cloud_option, dry_run_option, hosts_argument
from backstay.cli.output.terminal import echo
from backstay.cli.session import open_cloud, require_hosts
from backstay.cli.units import (
    own_environment,
    refuse_environment,
    secret_environment,
    show_files,
    uninstall,
    unit_command,
    unit_name,
)

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud

USUAL = "*-*-* 00:30"
"""Before most maintenance windows, and in no hour that a change of the clock leaves out."""
_VARIABLES = {
    "s3": ("AWS_",),
    "b2": ("B2_",),
    "azure": ("AZURE_",),
    "gs": ("GOOGLE_",),
    "rest": ("RESTIC_REST_",),
    "rclone": ("RCLONE_",),
}
"""What restic reads from the environment by kind of repository; services declare their own."""


@click.group()
def schedule() -> None:
    """Take backups by a timer of this machine's systemd: one timer for each cloud."""


@schedule.command(epilog=exit_statuses(ok="installed", refused="refused, nothing changed"))
@hosts_argument
@click.option(
    "--at",
    "calendar",
    metavar="CALENDAR",
    default=USUAL,
    show_default=True,
    help="When, as in systemd.time(7).",
)
@dry_run_option
@cloud_option
def install(*, hosts: tuple[str, ...], calendar: str, dry_run: bool, cloud: Path | None) -> None:
    """Install a timer that backs up HOSTs, verifies each backup and prunes.

    Without HOSTs, the usual ones. Installing it again replaces it. A time that passed while the
    machine was off is caught up when it is on again.
    """
    described = open_cloud(cloud)
    require_hosts(hosts, described)
    _install(described, hosts, calendar, dry_run=dry_run)


@schedule.command("uninstall", epilog=exit_statuses(ok="removed, or there was none"))
@dry_run_option
@cloud_option
def uninstall_timer(dry_run: bool, cloud: Path | None) -> None:
    """Remove the timer; backups stay."""
    name = _unit(open_cloud(cloud))
    units = [f"{name}.timer", f"{name}.service", f"{name}.env"]
    uninstall(units, "backups stay", dry_run=dry_run)


@schedule.command(
    epilog=exit_statuses(
        ok="a timer is installed and its last run did not fail",
        warning="none is installed",
        failed="its last run failed",
    )
)
@cloud_option
def status(cloud: Path | None) -> None:
    """Show what is scheduled, and how the last run ended."""
    from backstay.transports.systemd import state

    name = _unit(open_cloud(cloud))
    found = state(name)
    if not found:
        echo("nothing is scheduled: backstay backup schedule install")
        sys.exit(ExitStatus.WARNING)
    last = found.get("LastTriggerUSec", "").replace("n/a", "")
    result = found.get("Result", "unknown")
    if found.get("ActiveState") == "activating":
        result = "running"
    echo(
        f"{name}: {found['OnCalendar']}, next {found.get('NextElapseUSecRealtime') or 'unknown'}\n"
        f"  last: {f'{last}, {result}' if last else 'not yet'} (journalctl -u {name})\n"
        f"  runs: {found['ExecStart']}"
    )
    ended_well = not last or result in {"success", "running", "unknown"}
    sys.exit(ExitStatus.OK if ended_well else ExitStatus.FAILED)


def _unit(cloud: "Cloud") -> str:
    return unit_name("backup", cloud.name)


def _install(cloud: "Cloud", hosts: Sequence[str], calendar: str, *, dry_run: bool) -> None:
    from backstay.transports import systemd

    name, coming = _unit(cloud), systemd.next_time(calendar)
    refuse_environment(cloud)
    words = ["backup", "create", *hosts, "--verify", "--prune"]
    files = systemd.repeating_files(
        name,
        does=f"Backstay: {name.removeprefix('backstay-')}",
        calendar=calendar,
        command=unit_command(*words, "--reason", "scheduled", "--cloud", str(cloud.path)),
        environment=own_environment(),
        secrets=secret_environment(),
    )
    if dry_run:
        show_files(files)
    else:
        instead = f"let cron call: backstay {' '.join(words)}"
        systemd.install(f"{name}.timer", files, instead=instead)
        echo(
            f"scheduled: {calendar}{f', next {coming}' if coming else ''}\n"
            "  see it: backstay backup schedule status\n"
            "  cancel it: backstay backup schedule uninstall"
        )
    lacking = only_here(cloud.backup.repository or "", os.environ)
    if lacking:
        echo(
            f"  the repository may need {', '.join(lacking)}, which only this terminal has: write "
            f"them into a file of root's with mode 0600, and give that to the timer's service: "
            f"systemctl edit {name}.service ([Service], EnvironmentFile=/etc/backstay/restic.env)",
            err=True,
        )


def only_here(repository: str, environment: Mapping[str, str]) -> list[str]:
    """Return the variables that restic reads for a repository of that kind."""
    from backstay.services.registry import all_services

    kind = repository.partition(":")[0]
    own = {service.name: service.repository_variables for service in all_services()}
    prefix = _VARIABLES.get(kind) or own.get(kind, ())
    return sorted(name for name in environment if name.startswith(prefix))
