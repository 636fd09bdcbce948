"""``backstay doctor``: what the commands need of this machine and of the hosts."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli import completion
from backstay.cli.exit_status import exit_statuses, of_severity
from backstay.cli.options import cloud_option, output_option
from backstay.cli.output.terminal import echo, echo_json, waiting
from backstay.cli.session import open_cloud, open_session, require_hosts
from backstay.cli.units import code_folders, own_command, unit_name
from backstay.errors import BackstayError

if TYPE_CHECKING:
    from backstay.doctor.examination import Report
    from backstay.doctor.read_here import Own
    from backstay.inventory.cloud import Cloud

_NAMES = (
    "check",
    "watch",
    "reboot",
    "backup",
    "stream",
    "restore",
    "replace",
    "reconcile",
    "reattach",
    "lab",
)
"""As ``doctor.needs`` has them, which is imported late: a test compares them."""


@click.command(
    epilog=exit_statuses(
        ok="everything is there",
        warning="something optional is missing",
        failed="something needed is missing",
        unknown="something could not be found out",
    )
)
@click.argument("command", metavar="[COMMAND]", required=False, type=click.Choice(_NAMES))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    shell_complete=completion.hosts,
    help="Look at this host only. May be repeated.",
)
@cloud_option
@output_option
@click.option("-v", "--verbose", is_flag=True, help="Show what is there, too.")
def doctor(
    *, command: str | None, hosts: tuple[str, ...], cloud: Path | None, output: str, verbose: bool
) -> None:
    """Look for all that is missing: here and on each host, for each command or for COMMAND.

    Every line says how to correct it. It only reads: nothing is sent, switched, made or changed.
    """
    from backstay.cli.output.doctor import doctor_document, doctor_text
    from backstay.cli.output.text import terminal_width

    started = time.monotonic()
    report = _examined(command, hosts, cloud)
    seconds = time.monotonic() - started
    if output == "json":
        echo_json(doctor_document(report, seconds=seconds))
    else:
        colour = False if os.environ.get("NO_COLOR") else None
        text = doctor_text(report, seconds=seconds, width=terminal_width(), verbose=verbose)
        echo(text, nl=False, color=colour)
    sys.exit(of_severity(report.status))


def _examined(command: str | None, hosts: Sequence[str], given: Path | None) -> "Report":
    from backstay.doctor.examination import examine_here
    from backstay.doctor.needs import COMMANDS

    commands = [command] if command else list(COMMANDS)
    try:
        cloud = open_cloud(given)
    except BackstayError as error:  # that is the first thing to correct; the rest still counts
        return asyncio.run(examine_here(error, commands, _own(None)))
    require_hosts(hosts, cloud, hint="--host")
    return asyncio.run(_examine(cloud, commands, hosts or list(cloud.hosts)))


async def _examine(cloud: "Cloud", commands: Sequence[str], hosts: Sequence[str]) -> "Report":
    from backstay.doctor.examination import examine

    async with open_session(cloud) as session:
        work = examine(session, commands, hosts, _own(cloud))
        if not sys.stderr.isatty():
            return await work
        with waiting(f"looking at this machine, {len(hosts)} hosts and the APIs…"):
            return await work


def _own(cloud: "Cloud | None") -> "Own":
    """Return what only the command line knows: which units run what code."""
    from backstay.backup.selection import keeps_databases
    from backstay.doctor.needs import Topic
    from backstay.doctor.read_here import Own
    from backstay.services.registry import all_services

    code = [Path(own_command()[0]), Path(sys.executable), *code_folders()]
    if cloud is None:
        return Own(code=code)
    streams = [
        unit_name("stream", cloud.name, host.name)
        for host in cloud.hosts.values()
        if keeps_databases(cloud, host, all_services())
    ]
    units = {
        Topic.WATCH_UNIT: [f"{unit_name('watch', cloud.name)}.service"],
        Topic.STREAM_UNITS: [f"{name}.service" for name in streams],
    }
    return Own(code=code, units=units)
