"""``backstay watch``: watch a cloud, tell, act by policy, show."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.watch.incidents.incident import Incident
    from backstay.watch.incidents.store import WatchStore

OK, WARNING, CRITICAL, UNKNOWN = range(4)
"""Exit statuses of ``watch status``, as monitoring plugins have it."""
_BEGINS = 15.0
"""Seconds within which an approved run should have begun."""


@click.group(invoke_without_command=True)
@click.option("--install", is_flag=True, help="Let systemd keep it running.")
@click.option("--uninstall", is_flag=True, help="Undo --install; what was noted stays.")
@cloud_option
@click.pass_context
def watch(ctx: click.Context, *, install: bool, uninstall: bool, cloud: Path | None) -> None:
    """Watch the cloud: tell before users do, act where `watch.policy` says so, show a page.

    It runs until it is stopped. Of several, on one machine or on many, one leads and the others
    stand by. Channels, policy and page are under `watch:` in cloud.yaml.
    """
    ctx.obj = cloud
    if ctx.invoked_subcommand is not None:
        if install or uninstall:
            raise click.UsageError("--install and --uninstall go with no command")
        return
    if install and uninstall:
        raise click.UsageError("--install and --uninstall go one at a time")
    described = load_cloud(cloud)
    if install:
        _install(described)
    elif uninstall:
        _uninstall(described)
    else:
        _watch(described)


@watch.command()
@click.argument("channel", required=False)
@cloud_option
@click.pass_obj
def test(outer: Path | None, channel: str | None, cloud: Path | None) -> None:
    """Send a test message by CHANNEL, or by every one.

    Exit status: 0 all were taken, 2 one was not.
    """
    described = load_cloud(cloud or outer)
    names = list(described.watch.channels)
    if not names:
        raise click.ClickException(
            f"{described.path} names no channels: put some under `watch.channels`"
        )
    if channel is not None and channel not in names:
        raise click.BadParameter(
            f"{described.path} has no channel {channel}; it has {', '.join(names)}",
            param_hint="CHANNEL",
        )
    sys.exit(asyncio.run(_tested(described, names if channel is None else [channel])))


async def _tested(cloud: "Cloud", names: Sequence[str]) -> int:
    """Send a test message by each; return the exit status."""
    from backstay.errors import BackstayError
    from backstay.watch.notify.channels import send_test

    told = await asyncio.gather(*(send_test(cloud, name) for name in names), return_exceptions=True)
    status = 0
    for name, one in zip(names, told, strict=True):
        if isinstance(one, BackstayError):
            status = 2
            click.echo(f"{name}: {one.attempted}: {one.came_back}", err=True)
            click.echo(f"  what to do: {one.remedy}", err=True)
        elif isinstance(one, BaseException):
            raise one
        else:
            click.echo(f"{name}: {one}")
    return status


@watch.command()
@cloud_option
@output_option
@click.pass_obj
def status(outer: Path | None, cloud: Path | None, output: str) -> None:
    """Say who watches, and what is the matter.

    Exit status: 0 nothing, 1 a warning, 2 something critical, 3 nobody watches.
    """
    described = load_cloud(cloud or outer)
    store = _store(described)
    found = store.incidents(only_open=True)
    leads = asyncio.run(_leads(described))
    leader = store.leader()
    critical = [one for one in found if one.cause.urgency == "critical"]
    result = UNKNOWN if not leads else CRITICAL if critical else WARNING if found else OK
    if output == "json":
        document = {
            "cloud": described.name,
            "watched": leads,
            "leader": leader if leads else "",
            "incidents": [asdict(one) for one in found],
        }
        click.echo(json.dumps(document, indent=2))
        sys.exit(result)
    from backstay.cli.output.incidents import incidents_table

    if leads:
        click.echo(f"{described.name} is watched by {leader}")
    else:
        last = f"; the last was {leader}" if leader else ""
        click.echo(f"nobody watches {described.name}{last}: backstay watch --install")
    click.echo(
        incidents_table(found, time.time()) if found else "nothing is the matter\n", nl=False
    )
    sys.exit(result)


async def _leads(cloud: "Cloud") -> bool:
    """Say whether a watch leads: whether its lock is held."""
    from backstay.journal.locks import keeper
    from backstay.journal.place import locks_url

    async with keeper(locks_url()) as mine:
        return not await mine.take(f"watch/{cloud.name}")


@watch.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.argument("incident", required=False)
@cloud_option
@output_option
@click.pass_obj
def incidents(
    outer: Path | None, incident: str | None, limit: int, cloud: Path | None, output: str
) -> None:
    """List the newest incidents, or show one INCIDENT with all that happened."""
    described = load_cloud(cloud or outer)
    store = _store(described)
    found = store.incidents(limit=limit) if incident is None else [_named(store, incident)]
    if output == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    from backstay.cli.output.incidents import incident_text, incidents_table

    if incident is not None:
        click.echo(incident_text(found[0]), nl=False)
    elif found:
        click.echo(incidents_table(found, time.time()), nl=False)
    else:
        click.echo("there were none")


def _named(store: "WatchStore", name: str) -> "Incident":
    digits = name.removeprefix("incident-")
    found = store.incident(int(digits)) if digits.isdigit() else None
    if found is None:
        raise click.BadParameter(
            f"the journal has no {name}: backstay watch incidents", param_hint="INCIDENT"
        )
    return found


@watch.command()
@click.argument("code")
@cloud_option
@click.pass_obj
def approve(outer: Path | None, code: str, cloud: Path | None) -> None:
    """Let the plan begin that was sent with CODE. A code can be used once.

    Exit status: 0 it has begun, 2 it has not begun in time, 3 the code approves nothing.
    """
    from backstay.cli.execution import open_store
    from backstay.journal.epochs import who
    from backstay.journal.records import RunState
    from backstay.watch.act.approvals import approve as use

    described = load_cloud(cloud or outer)
    run = use(_store(described), code, by=f"{who()}@{socket.gethostname()}", now=time.time())
    click.echo(f"{run} is approved")
    journal, end = open_store(), time.monotonic() + _BEGINS
    while journal.run(run).state is RunState.PLANNED and time.monotonic() < end:
        time.sleep(0.2)
    if journal.run(run).state is RunState.PLANNED:
        click.echo(
            f"no watch has begun it within {_BEGINS:g} s; begin it: backstay runs resume {run}",
            err=True,
        )
        sys.exit(2)
    click.echo(f"it has begun; see it: backstay runs show {run}")


def _store(cloud: "Cloud") -> "WatchStore":
    from backstay.journal.place import journal_url
    from backstay.watch.incidents.store import WatchStore

    return WatchStore(journal_url(), cloud.name)


def _watch(cloud: "Cloud") -> None:
    """Watch until asked to end."""
    from backstay.cli.session import open_api, read_backups
    from backstay.cli.unattended import command
    from backstay.inventory.load import load
    from backstay.services.registry import all_services
    from backstay.watch.process import Environment, Process

    names = [service.name for service in all_services()]
    means = Environment(
        load=lambda path: load(path, services=names),
        api=open_api,
        sources=(read_backups,),
        command=command,
        say=_say,
    )
    page = cloud.watch.page
    scheme = "https" if page.certificate else "http"
    _say(f"watching {cloud.name} ({cloud.path}); page: {scheme}://{page.listen}/")
    if not cloud.watch.channels:
        _say(f"nobody is told: {cloud.path} names no channels under `watch.channels`")

    async def run() -> None:
        await Process(cloud.path, means).run()

    asyncio.run(run())
    _say("ended")


def _say(line: str) -> None:
    """Write a line of the log; journald adds the time itself."""
    at = "" if "JOURNAL_STREAM" in os.environ else f"{time.strftime('%H:%M:%S')} "
    click.echo(f"{at}{' '.join(line.split())}", err=True)


def _install(cloud: "Cloud") -> None:
    from backstay.cli.unattended import (
        command,
        environment,
        refuse_environment,
    )
    from backstay.transports.systemd import install, service_file

    refuse_environment(cloud)
    name = _service(cloud)
    text = service_file(
        does=f"Backstay: watch {cloud.name}",
        command=command("watch", "--cloud", str(cloud.path)),
        environment=environment(),
        more=_UNIT,
    )
    install(
        f"{name}.service",
        {f"{name}.service": text},
        instead=f"let something else keep this running: backstay watch --cloud {cloud.path}",
    )
    click.echo(
        f"{name} runs; see it: backstay watch status, journalctl -u {name}\n"
        "  try the channels: backstay watch test; undo it: backstay watch --uninstall"
    )


_UNIT = """\
Type=notify
NotifyAccess=main
WatchdogSec=60
TimeoutStopSec=10
# A run that it has begun goes on when the watch ends or is started anew.
KillMode=process
RuntimeDirectory=backstay
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
RestrictRealtime=yes
LockPersonality=yes
OOMScoreAdjust=-500
# Where this machine is busy a late answer must not be its own fault.
Nice=-10
"""


def _uninstall(cloud: "Cloud") -> None:
    from backstay.transports.systemd import remove

    name = _service(cloud)
    there = remove(f"{name}.service")
    click.echo(f"{name} is removed; what was noted stays" if there else "it is not installed")


def _service(cloud: "Cloud") -> str:
    return f"backstay-watch-{cloud.name}"
