"""``backstay backup stream``: receive the binary log of the hosts with the database."""

import asyncio
import contextlib
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.exit_status import ExitStatus, Refused, exit_statuses
from backstay.cli.options import (
    cloud_option,
    dry_run_option,
    optional_host_argument,
    output_option,
)
from backstay.cli.output.terminal import echo, echo_json, redraw
from backstay.cli.session import backups_of, open_cloud, require_hosts
from backstay.cli.units import show_files, uninstall, unit_command, unit_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backstay.backup.mariadb.stream_state import StreamState
    from backstay.backup.mariadb.streams import StreamStatus
    from backstay.inventory.cloud import Cloud


@click.group()
def stream() -> None:
    """Receive the binary log of databases continuously, for a restore to the last moment.

    Each command takes a HOST; without one it is about all hosts that keep databases.
    """


@stream.command(epilog=exit_statuses(ok="stopped", unknown="another stream of the host runs here"))
@optional_host_argument
@cloud_option
def run(host: str | None, cloud: Path | None) -> None:
    """Receive in the foreground until stopped.

    It connects again by itself when the host or its server goes away and comes back.
    """
    described = open_cloud(cloud)
    asyncio.run(_receive(described, _hosts(described, host)))


@stream.command(epilog=exit_statuses(ok="installed", refused="refused, nothing changed"))
@optional_host_argument
@dry_run_option
@cloud_option
def install(host: str | None, dry_run: bool, cloud: Path | None) -> None:
    """Install a systemd service for each host that keeps receiving."""
    described = open_cloud(cloud)
    for name in _hosts(described, host):
        _install(described, name, dry_run=dry_run)


@stream.command("uninstall", epilog=exit_statuses(ok="removed, or there was none"))
@optional_host_argument
@dry_run_option
@cloud_option
def uninstall_services(host: str | None, dry_run: bool, cloud: Path | None) -> None:
    """Stop and remove the services; what was received stays."""
    described = open_cloud(cloud)
    for name in _hosts(described, host):
        unit = f"{_unit(described, name)}.service"
        uninstall([unit], "what was received stays", dry_run=dry_run)
        if not dry_run:
            backups_of(described).logs(name).ended()


@stream.command(
    epilog=exit_statuses(
        ok="everything is here",
        warning="a stream is behind for longer than `stream_lag`",
        failed="a stream is not running",
    )
)
@optional_host_argument
@cloud_option
@output_option
def status(host: str | None, cloud: Path | None, output: str) -> None:
    """Show how far the streams are behind, and what would be lost now (RPO)."""
    from backstay.backup.mariadb.streams import status_of

    described, now = open_cloud(cloud), time.time()
    place = backups_of(described)
    found = [status_of(described, place, name, now) for name in _hosts(described, host)]
    if output == "json":
        echo_json([_document(one, now) for one in found])
    else:
        from backstay.cli.output.text import columns

        head = ("host", "stream", "received", "behind", "RPO", "files", "")
        echo(columns([head, *(_row(one, now) for one in found)]), nl=False)
    sys.exit(max(_exit_status(one) for one in found))


def _hosts(cloud: "Cloud", host: str | None) -> list[str]:
    from backstay.backup.selection import keeps_databases
    from backstay.services.registry import all_services

    if host is not None:
        require_hosts([host], cloud)
    chosen = [cloud.hosts[host]] if host is not None else list(cloud.hosts.values())
    found = [one.name for one in chosen if keeps_databases(cloud, one, all_services())]
    if not found:
        raise Refused(f"{host or cloud.path} keeps no databases")
    return found


async def _receive(cloud: "Cloud", hosts: "Sequence[str]") -> None:
    """Receive from the hosts until interrupted or asked to end."""
    from backstay.backup.mariadb.streams import receive
    from backstay.services.registry import all_services
    from backstay.transports.ssh import HostShell

    async with HostShell(connect_bound=cloud.bounds.connect_seconds) as shell:
        work = asyncio.ensure_future(
            receive(
                cloud, backups_of(cloud), shell, hosts, all_services(), report=_Reporter().report
            )
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


class _Reporter:
    """Prints streams' states: a line that changes on a terminal, else a line for each change."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}
        self._terminal = sys.stderr.isatty()

    def report(self, state: "StreamState") -> None:
        """Print a state."""
        shown = (state.doing, state.incarnation, state.error, state.note)
        if self._last.get(state.host) != shown:
            self._last[state.host] = shown
            why = f": {state.error}; what to do: {state.remedy}" if state.error else ""
            note = f"; {state.note}" if state.note and not state.error else ""
            echo(f"{_line(state)}{why}{note}", err=True)
        elif self._terminal:
            redraw(_line(state))


def _line(state: "StreamState") -> str:
    received, behind, rpo = _figures(state, time.time())
    return f"{state.host}: {state.doing}, {received}, behind {behind}, RPO {rpo}"


def _figures(state: "StreamState", now: float) -> tuple[str, str, str]:
    from backstay.quantities import duration, size

    rpo = state.rpo(now)
    received = f"{state.file} up to {state.received}" if state.file else "nothing yet"
    behind = "unknown" if state.behind is None else size(state.behind)
    return received, behind, "unknown" if rpo is None else duration(rpo)


def _exit_status(status: "StreamStatus") -> ExitStatus:
    if not status.running:
        return ExitStatus.FAILED
    return ExitStatus.WARNING if status.lagging else ExitStatus.OK


def _row(status: "StreamStatus", now: float) -> tuple[str, ...]:
    from backstay.quantities import ago

    state, files = status.state, "-"
    if status.files_at is not None:
        files = f"as of {ago(now - status.files_at)}"
    kind = {ExitStatus.FAILED: "not running", ExitStatus.WARNING: "lagging"}
    doing = kind.get(_exit_status(status), state.doing.value if state else "streaming")
    if state is None:
        return (status.host, doing, "nothing yet", "unknown", "unknown", files, "")
    error = state.error or status.files_error
    return (status.host, doing, *_figures(state, now), files, error)


def _document(status: "StreamStatus", now: float) -> dict[str, object]:
    return {
        "host": status.host,
        "running": status.running,
        "lagging": status.lagging,
        "rpo": status.state and status.state.rpo(now),
        "files_whole_at": status.files_at,
        "files_error": status.files_error,
        "state": asdict(status.state) if status.state else None,
    }


def _install(cloud: "Cloud", host: str, *, dry_run: bool) -> None:
    from backstay.transports.systemd import install, service_file

    name = _unit(cloud, host)
    text = service_file(
        does=f"Backstay: receive the binary log of {host}",
        command=unit_command("backup", "stream", "run", host, "--cloud", str(cloud.path)),
        environment={},
    )
    files = {f"{name}.service": text}
    if dry_run:
        show_files(files)
        return
    instead = f"let another supervisor keep this running: backstay backup stream run {host}"
    install(f"{name}.service", files, instead=instead)
    echo(
        f"{name} is running; see it: backstay backup stream status; log: journalctl -u {name}\n"
        f"  undo it: backstay backup stream uninstall {host}"
    )


def _unit(cloud: "Cloud", host: str) -> str:
    return unit_name("stream", cloud.name, host)
