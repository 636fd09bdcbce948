"""``backstay backup stream``: keep receiving the binary log of the hosts with the database."""

import asyncio
import contextlib
import functools
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.check import known_hosts
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backstay.backup.mariadb.stream_state import StreamState
    from backstay.backup.place import Place
    from backstay.inventory.cloud import Cloud

LAGGING, NOT_RUNNING = 1, 2
"""Exit statuses of ``--status``."""


@click.command()
@click.argument("host", required=False)
@click.option("--status", is_flag=True, help="Say how far the streams are behind.")
@click.option("--install", is_flag=True, help="Let systemd keep it running.")
@click.option("--uninstall", is_flag=True, help="Undo --install; what was received stays.")
@cloud_option
@output_option
def stream(host: str | None, cloud: Path | None, output: str, **asked: bool) -> None:
    """Keep receiving the binary log of HOST's database, for a restore to the last moment.

    Without HOST that of the controllers with MariaDB. It runs until it is stopped, and connects
    again by itself when the host or its MariaDB goes away and comes back.

    Exit status of --status: 0 all is here, 1 a stream is behind for longer than `stream_lag`, 2 one
    is not running.
    """
    if sum(asked.values()) > 1:
        raise click.UsageError("--status, --install and --uninstall go one at a time")
    described = load_cloud(cloud)
    hosts = _hosts(described, host)
    if asked["status"]:
        sys.exit(_status(described, hosts, as_json=output == "json"))
    if asked["install"] or asked["uninstall"]:
        for name in hosts:
            _install(described, name) if asked["install"] else _uninstall(described, name)
        return
    asyncio.run(_stream(described, hosts))


def _hosts(cloud: "Cloud", host: str | None) -> list[str]:
    from backstay.backup.selection import keeps_databases
    from backstay.services.registry import all_services

    if host is not None:
        known_hosts([host], cloud)
    chosen = [cloud.hosts[host]] if host is not None else list(cloud.hosts.values())
    found = [one.name for one in chosen if keeps_databases(cloud, one, all_services())]
    if not found:
        raise click.ClickException(f"{host or cloud.path} keeps no databases")
    return found


async def _stream(cloud: "Cloud", hosts: "Sequence[str]") -> None:
    """Receive from the hosts until interrupted or asked to end."""
    from backstay.backup.follow import Follow
    from backstay.backup.mariadb.source import SshSource
    from backstay.backup.mariadb.stream import Stream
    from backstay.backup.selection import selection
    from backstay.services.registry import all_services
    from backstay.transports.ssh import HostShell

    place, said = _place(cloud), _Said()
    async with HostShell(connect_bound=cloud.bounds.connect_seconds) as shell:
        streams = [
            Stream(
                host,
                SshSource(shell, cloud.ssh_target(cloud.hosts[host])),
                place.logs(host),
                backups=functools.partial(place.catalogue.backups, host=host),
                say=said.say,
            )
            for host in hosts
        ]
        chosen = {host: selection(cloud, cloud.hosts[host], all_services()) for host in hosts}
        follows = [
            Follow(
                shell,
                cloud.ssh_target(cloud.hosts[host]),
                place.followed(host),
                paths=chosen[host].followed,
                leave_out=chosen[host].leave_out,
                known=place.mirror(host).known,
            )
            for host in hosts
        ]
        runs = [*(one.run() for one in streams), *(one.run() for one in follows)]
        work = asyncio.gather(*runs)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


class _Said:
    """What is told of streams: one line that changes on a terminal, else a line for each change."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}
        self._terminal = sys.stderr.isatty()

    def say(self, state: "StreamState") -> None:
        """Tell a state."""
        told = (state.doing, state.incarnation, state.error, state.note)
        if self._last.get(state.host) != told:
            self._last[state.host] = told
            why = f": {state.error}; what to do: {state.remedy}" if state.error else ""
            note = f"; {state.note}" if state.note and not state.error else ""
            click.echo(f"{_line(state)}{why}{note}", err=True)
        elif self._terminal:
            click.echo(f"\r\x1b[K{_line(state)}", err=True, nl=False)


def _line(state: "StreamState") -> str:
    received, behind, rpo = _figures(state, time.time())
    return f"{state.host}: {state.doing}, {received}, behind {behind}, RPO {rpo}"


def _figures(state: "StreamState", now: float) -> tuple[str, str, str]:
    from backstay.quantities import duration, size

    rpo = state.rpo(now)
    received = f"{state.file} up to {state.received}" if state.file else "nothing yet"
    behind = "unknown" if state.behind is None else size(state.behind)
    return received, behind, "unknown" if rpo is None else duration(rpo)


def _status(cloud: "Cloud", hosts: "Sequence[str]", *, as_json: bool) -> int:
    """Print how the streams of the hosts are; return the exit status."""
    place = _place(cloud)
    looked = [_looked(cloud, place, host, time.time()) for host in hosts]
    if as_json:
        click.echo(json.dumps([document for _, _, document in looked], indent=2))
    else:
        head = ("host", "stream", "received", "behind", "RPO", "files", "")
        rows = [head, *(row for _, row, _ in looked)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())
    return max(status for status, _, _ in looked)


def _looked(
    cloud: "Cloud", place: "Place", host: str, now: float
) -> "tuple[int, tuple[str, ...], dict[str, object]]":
    """Return how one stream is: its exit status, its row, its document."""
    from backstay.backup.mariadb.stream import running
    from backstay.quantities import ago

    logs, followed = place.logs(host), place.followed(host).state()
    state, runs, limit = logs.state(), running(logs.folder), cloud.backup.stream_lag
    late = state is None or state.behind_for(now) > limit or followed.behind_for(now) > limit
    status = NOT_RUNNING if not runs else LAGGING if late else 0
    word = ["streaming", "lagging", "not running"][status]
    files = "-" if followed.whole_at is None else f"as of {ago(now - followed.whole_at)}"
    if state is None:
        row: tuple[str, ...] = (host, word, "nothing yet", "unknown", "unknown", files, "")
    else:
        word = state.doing.value if status == 0 else word
        row = (host, word, *_figures(state, now), files, state.error or followed.error)
    document: dict[str, object] = {"host": host, "running": runs, "lagging": late}
    document["rpo"] = state and state.rpo(now)
    document["files_whole_at"] = followed.whole_at
    document["state"] = asdict(state) if state else None
    return status, row, document


def _place(cloud: "Cloud") -> "Place":
    from backstay.backup.place import Place

    return Place(cloud)


def _install(cloud: "Cloud", host: str) -> None:
    from backstay.transports.systemd import install, service_file

    name = _service(cloud, host)
    command = [str(Path(sys.argv[0]).resolve()), "backup", "stream", host]
    text = service_file(
        does=f"Backstay: receive the binary log of {host}",
        command=[*command, "--cloud", str(cloud.path)],
        environment={},
    )
    instead = f"let something else keep this running: backstay backup stream {host}"
    install(f"{name}.service", {f"{name}.service": text}, instead=instead)
    click.echo(
        f"{name} runs; see it: backstay backup stream --status, journalctl -u {name}\n"
        f"  undo it: backstay backup stream {host} --uninstall"
    )


def _uninstall(cloud: "Cloud", host: str) -> None:
    from backstay.transports.systemd import remove

    name = _service(cloud, host)
    there = remove(f"{name}.service")
    _place(cloud).logs(host).ended()
    click.echo(f"{name} is removed; what was received stays" if there else "it is not installed")


def _service(cloud: "Cloud", host: str) -> str:
    return f"backstay-stream-{cloud.name}-{host}"
