"""``backstay watch``: watch a cloud, notify, act by policy, show."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli import completion
from backstay.cli.exit_status import ExitStatus, Refused, exit_statuses
from backstay.cli.group import report_loop_errors, show_error
from backstay.cli.options import cloud_option, dry_run_option, output_option
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.session import SOURCES, open_api, open_cloud, open_probe_api
from backstay.cli.units import (
    own_command,
    own_environment,
    refuse_environment,
    secret_environment,
    show_files,
    uninstall,
    unit_command,
    unit_name,
)
from backstay.errors import BackstayError, InventoryError

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.watch.incidents.incident import Incident
    from backstay.watch.incidents.store import WatchStore

_STARTS = 15.0
"""Seconds within which an approved run should have started."""


@click.group()
def watch() -> None:
    """Watch the cloud: notify before users do, act where `watch.policy` allows it, show a page.

    Of several watches, on one machine or on many, one leads and the others stand by. Channels,
    policy and page are under `watch:` in cloud.yaml.
    """


@watch.command(epilog=exit_statuses(ok="stopped", unknown="it cannot watch"))
@cloud_option
def run(cloud: Path | None) -> None:
    """Watch in the foreground until stopped."""
    _watch(open_cloud(cloud))


@watch.command(epilog=exit_statuses(ok="installed", refused="refused, nothing changed"))
@dry_run_option
@cloud_option
def install(dry_run: bool, cloud: Path | None) -> None:
    """Install a systemd service that keeps watching, and start it."""
    _install(open_cloud(cloud), dry_run=dry_run)


@watch.command("uninstall", epilog=exit_statuses(ok="removed, or there was none"))
@dry_run_option
@cloud_option
def uninstall_service(dry_run: bool, cloud: Path | None) -> None:
    """Stop and remove the service; what it recorded stays."""
    name = _unit(open_cloud(cloud))
    uninstall([f"{name}.service", f"{name}.env"], "what it recorded stays", dry_run=dry_run)


@watch.command(
    epilog=exit_statuses(
        ok="all channels accepted it", failed="one did not", unknown="there is no channel"
    )
)
@click.argument("channel", metavar="[CHANNEL]", required=False, shell_complete=completion.channels)
@cloud_option
def test(channel: str | None, cloud: Path | None) -> None:
    """Send a test message through CHANNEL, or through all of them."""
    described = open_cloud(cloud)
    names = list(described.watch.channels)
    if not names:
        raise InventoryError(
            "sending a test message",
            came_back=f"{described.path} has no notification channel",
            remedy="add one under `watch.channels`: docs/watch.md",
        )
    if channel is not None and channel not in names:
        raise click.BadParameter(
            f"{described.path} has no channel {channel}; it has {', '.join(names)}",
            param_hint="CHANNEL",
        )
    sys.exit(asyncio.run(_tested(described, names if channel is None else [channel])))


async def _tested(cloud: "Cloud", names: Sequence[str]) -> ExitStatus:
    """Send a test message through each; return the exit status."""
    from backstay.watch.notify.channels import send_test

    results = await asyncio.gather(
        *(send_test(cloud, name) for name in names), return_exceptions=True
    )
    status = ExitStatus.OK
    for name, result in zip(names, results, strict=True):
        if isinstance(result, BackstayError):
            status = ExitStatus.FAILED
            show_error(result, name)
        elif isinstance(result, BaseException):
            raise result
        else:
            echo(f"{name}: {result}")
    return status


@watch.command(
    epilog=exit_statuses(
        ok="no open incidents",
        warning="a warning is open",
        failed="something critical is open",
        unknown="no watch is running",
    )
)
@cloud_option
@output_option
def status(cloud: Path | None, output: str) -> None:
    """Show the leader and open incidents."""
    described = open_cloud(cloud)
    store = _store(described)
    found = store.incidents(only_open=True)
    leads = asyncio.run(_leads(described))
    leader = store.leader()
    if output == "json":
        document = {
            "cloud": described.name,
            "watched": leads,
            "leader": leader if leads else "",
            "incidents": [asdict(incident) for incident in found],
        }
        echo_json(document)
        sys.exit(_exit_status(found, watched=leads))
    from backstay.cli.output.incidents import incidents_table

    if leads:
        echo(f"{described.name} is watched by {leader}")
    else:
        last = f"; the last leader was {leader}" if leader else ""
        echo(f"no watch is running for {described.name}{last}: backstay watch install")
    echo(incidents_table(found, time.time()) if found else "no open incidents\n", nl=False)
    sys.exit(_exit_status(found, watched=leads))


def _exit_status(incidents: "Sequence[Incident]", *, watched: bool) -> ExitStatus:
    if not watched:
        return ExitStatus.UNKNOWN
    if any(incident.cause.urgency == "critical" for incident in incidents):
        return ExitStatus.FAILED
    return ExitStatus.WARNING if incidents else ExitStatus.OK


async def _leads(cloud: "Cloud") -> bool:
    """Return whether a watch leads: whether its lock is held."""
    from backstay.journal.locks import keeper
    from backstay.journal.place import locks_url

    async with keeper(locks_url()) as mine:
        return not await mine.take(f"watch/{cloud.name}")


@watch.command(epilog=exit_statuses(ok="shown", unknown="the journal cannot be read"))
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many at most.",
)
@click.argument(
    "incident", metavar="[INCIDENT]", required=False, shell_complete=completion.incidents
)
@cloud_option
@output_option
def incidents(incident: str | None, limit: int, cloud: Path | None, output: str) -> None:
    """List the newest incidents, or show one INCIDENT with its timeline."""
    store = _store(open_cloud(cloud))
    found = store.incidents(limit=limit) if incident is None else [_named(store, incident)]
    if output == "json":
        echo_json([asdict(one) for one in found])
        return
    from backstay.cli.output.incidents import incident_text, incidents_table

    if incident is not None:
        echo(incident_text(found[0]), nl=False)
    elif found:
        echo(incidents_table(found, time.time()), nl=False)
    else:
        echo("no incidents yet")


def _named(store: "WatchStore", name: str) -> "Incident":
    digits = name.removeprefix("incident-")
    found = store.incident(int(digits)) if digits.isdigit() else None
    if found is None:
        raise click.BadParameter(
            f"the journal has no {name}: backstay watch incidents", param_hint="INCIDENT"
        )
    return found


@watch.command(
    epilog=exit_statuses(
        ok="it has started",
        failed="it has not started in time",
        refused="the code approves nothing",
    )
)
@click.argument("code", metavar="CODE")
@dry_run_option
@cloud_option
def approve(code: str, dry_run: bool, cloud: Path | None) -> None:
    """Approve the plan that was sent with CODE. A code can be used once."""
    from backstay.cli.execution import open_store
    from backstay.journal.epochs import who
    from backstay.journal.records import RunState
    from backstay.watch.act.approvals import NotApproved, waiting
    from backstay.watch.act.approvals import approve as use

    store, now = _store(open_cloud(cloud)), time.time()
    try:
        if dry_run:
            echo(f"would approve {waiting(store, code, now=now).run}")
            return
        run = use(store, code, by=f"{who()}@{socket.gethostname()}", now=now)
    except NotApproved as error:
        raise Refused(error.came_back, remedy=error.remedy) from error
    echo(f"{run} is approved")
    journal, end = open_store(), time.monotonic() + _STARTS
    while journal.run(run).state is RunState.PLANNED and time.monotonic() < end:
        time.sleep(0.2)
    if journal.run(run).state is RunState.PLANNED:
        echo(
            f"no watch has started it within {_STARTS:g} s; start it: backstay runs resume {run}",
            err=True,
        )
        sys.exit(ExitStatus.FAILED)
    echo(f"it has started; see it: backstay runs show {run}")


def _store(cloud: "Cloud") -> "WatchStore":
    from backstay.journal.place import journal_url
    from backstay.watch.incidents.store import WatchStore

    return WatchStore(journal_url(), cloud.name)


def _watch(cloud: "Cloud") -> None:
    """Watch until asked to end."""
    from backstay.inventory.load import load
    from backstay.services.registry import all_services
    from backstay.watch.process import Environment, Process

    names = [service.name for service in all_services()]
    environment = Environment(
        load=lambda path: load(path, services=names),
        api=open_api,
        probe_api=open_probe_api,
        sources=SOURCES,
        command=own_command,
        say=_log,
    )
    page = cloud.watch.page
    scheme = "https" if page.certificate else "http"
    _log(f"watching {cloud.name} ({cloud.path}); page: {scheme}://{page.listen}/")
    if not cloud.watch.channels:
        _log(f"notifications: no channel configured under `watch.channels` in {cloud.path}")

    async def run() -> None:
        report_loop_errors(asyncio.get_running_loop())
        await Process(cloud.path, environment).run()

    asyncio.run(run())
    _log("ended")


def _log(line: str) -> None:
    """Write a line of the log; journald adds the time itself."""
    at = "" if "JOURNAL_STREAM" in os.environ else f"{time.strftime('%H:%M:%S')} "
    echo(f"{at}{' '.join(line.split())}", err=True)


def _install(cloud: "Cloud", *, dry_run: bool) -> None:
    from backstay.transports.systemd import environment_file, install, reading, service_file

    refuse_environment(cloud, watch=True)
    _warn_if_alone(cloud)
    name = _unit(cloud)
    text = service_file(
        does=f"Backstay: watch {cloud.name}",
        command=unit_command("watch", "run", "--cloud", str(cloud.path)),
        environment=own_environment(),
        more=_UNIT + reading(name, secret_environment()),
    )
    files = {f"{name}.service": text, **environment_file(name, secret_environment())}
    if dry_run:
        show_files(files)
        return
    run = f"backstay watch run --cloud {cloud.path}"
    install(f"{name}.service", files, instead=f"let another supervisor keep this running: {run}")
    echo(
        f"{name} is running; see it: backstay watch status; log: journalctl -u {name}\n"
        "  test the channels: backstay watch test; undo it: backstay watch uninstall"
    )


def _warn_if_alone(cloud: "Cloud") -> None:
    """Warn where the watch may act, and knows nothing of other operators and watches."""
    from backstay.journal.place import is_shared

    acts = cloud.watch.policy.acts
    if acts and not is_shared():
        echo(
            f"backstay: the policy acts ({', '.join(acts)}), and journal and locks are files of "
            "this machine: watches and operators elsewhere do not see its runs, nor it theirs; "
            "only on one and the same host they never work at once. To share them set "
            "BACKSTAY_JOURNAL and BACKSTAY_LOCKS: docs/watch.md, High availability",
            err=True,
        )


_UNIT = """\
Type=notify
NotifyAccess=main
WatchdogSec=60
TimeoutStopSec=10
# A run that it has started goes on when the watch ends or is restarted.
KillMode=process
RuntimeDirectory=backstay
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
RestrictRealtime=yes
LockPersonality=yes
OOMScoreAdjust=-500
LimitNOFILE=65536
# More than any cloud needs; a fault here must not take the machine's memory. A run that it has
# started counts too; if one of those is ended, the watch is not.
MemoryMax=4G
OOMPolicy=continue
# Where this machine is busy a late answer must not be its own fault.
Nice=-10
"""


def _unit(cloud: "Cloud") -> str:
    return unit_name("watch", cloud.name)
