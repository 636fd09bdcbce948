"""``backstay backup schedule``: a timer of systemd's takes, proves and prunes backups."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli import unattended
from backstay.cli.check import known_hosts
from backstay.cli.options import cloud_option, load_cloud

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


@click.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option(
    "--at",
    "calendar",
    metavar="CALENDAR",
    default=USUAL,
    show_default=True,
    help="When, as systemd.time(7) has it.",
)
@click.option("--show", is_flag=True, help="Only say what is scheduled, and how it went.")
@click.option("--remove", is_flag=True, help="Take the timer away; backups stay.")
@cloud_option
def schedule(
    *, hosts: tuple[str, ...], calendar: str, show: bool, remove: bool, cloud: Path | None
) -> None:
    """Let a timer back up HOSTs, prove each backup and prune; without any, the usual hosts.

    One timer for each cloud, of this machine's systemd: installing it again replaces it. A time
    that passed while the machine was off is caught up when it is on again.
    """
    described = load_cloud(cloud)
    name = f"backstay-backup-{re.sub('[^A-Za-z0-9_.-]', '-', described.name)}"
    if show or remove:
        if hosts or (show and remove):
            raise click.UsageError("--show and --remove stand alone")
        click.echo(_shown(name) if show else _removed(name))
        return
    known_hosts(hosts, described)
    _install(name, described, hosts, calendar)


def _install(name: str, cloud: "Cloud", hosts: Sequence[str], calendar: str) -> None:
    from backstay.transports import systemd as timer

    coming = timer.next_time(calendar)
    unattended.refuse_environment(cloud)
    words = ["backup", "create", *hosts, "--verify", "--prune"]
    files = timer.repeating_files(
        name,
        does=f"Backstay: {name.removeprefix('backstay-')}",
        calendar=calendar,
        command=unattended.command(*words, "--reason", "scheduled", "--cloud", str(cloud.path)),
        environment=unattended.environment(),
    )
    timer.install(f"{name}.timer", files, instead=f"let cron call: backstay {' '.join(words)}")
    click.echo(
        f"scheduled: {calendar}{f', next {coming}' if coming else ''}\n"
        "  see it: backstay backup schedule --show\n"
        "  call it off: backstay backup schedule --remove"
    )
    lacking = only_here(cloud.backup.repository or "", os.environ)
    if lacking:
        click.echo(
            f"  the repository may need {', '.join(lacking)}, which only this terminal has: give "
            f"them to the timer, too: systemctl edit {name}.service",
            err=True,
        )


def only_here(repository: str, environment: Mapping[str, str]) -> list[str]:
    """Return the variables that restic reads for a repository of that kind."""
    from backstay.services.registry import all_services

    kind = repository.partition(":")[0]
    own = {service.name: service.repository_variables for service in all_services()}
    prefix = _VARIABLES.get(kind) or own.get(kind, ())
    return sorted(name for name in environment if name.startswith(prefix))


def _shown(name: str) -> str:
    from backstay.transports.systemd import state

    found = state(name)
    if not found:
        return "nothing is scheduled: backstay backup schedule"
    last = found.get("LastTriggerUSec", "").replace("n/a", "")
    result = found.get("Result", "unknown")
    if found.get("ActiveState") == "activating":
        result = "at work"
    return (
        f"{name}: {found['OnCalendar']}, next {found.get('NextElapseUSecRealtime') or 'unknown'}\n"
        f"  last: {f'{last}, {result}' if last else 'not yet'} (journalctl -u {name})\n"
        f"  does: {found['ExecStart']}"
    )


def _removed(name: str) -> str:
    from backstay.transports.systemd import remove

    return (
        f"removed {name}" if remove(f"{name}.timer", f"{name}.service") else "nothing is scheduled"
    )
