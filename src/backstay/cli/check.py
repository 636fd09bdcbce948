"""``backstay check``: whether everything runs that should, and works."""

import asyncio
import difflib
import os
import shutil
import sys
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from backstay.cli.options import cloud_option, load_cloud
from backstay.errors import ApiError, BackstayError
from backstay.finding import Finding, Severity
from backstay.transports.threads import on_thread

if TYPE_CHECKING:
    from backstay.cli.output.findings import Report
    from backstay.inventory.cloud import Cloud
    from backstay.transports.openstack import OpenStackApi
    from backstay.transports.ssh import HostShell
    from backstay.transports.targets import Answer, SshTarget

_IMPORT_BOUND = 60.0  # seconds to read asyncssh from a slow disk
_PATIENCE = 2.0  # seconds until a person at a terminal is told what is waited for


@click.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@cloud_option
@click.option("--deep", is_flag=True, help="Also make, use and delete an instance, a volume, …")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "nagios"]),
    default="table",
    show_default=True,
    help="For people, for programs, or for monitoring.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show only what is not ok.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is ok line by line.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long one host or API may take to answer.",
)
def check(  # options come by name
    *,
    hosts: tuple[str, ...],
    cloud: Path | None,
    deep: bool,
    output: str,
    quiet: bool,
    verbose: bool,
    timeout: float | None,
) -> None:
    """Check the whole cloud, or only the HOSTs and the APIs that they serve.

    Exit status: 0 ok, 1 warning, 2 failed, 3 unknown, as monitoring plugins have it.
    """
    described = load_cloud(cloud)
    known_hosts(hosts, described)
    if timeout is not None:
        bounds = {
            "connect_seconds": min(timeout, described.bounds.connect_seconds),
            "host_seconds": timeout,
            "api_seconds": timeout,
        }
        described = described.model_copy(
            update={"bounds": described.bounds.model_copy(update=bounds)}
        )
    report = _checked(described, hosts, deep=deep)
    # https://no-color.org: any value but the empty one
    colour = False if os.environ.get("NO_COLOR") else None
    click.echo(_shown(report, output, quiet=quiet, verbose=verbose), nl=False, color=colour)
    sys.exit(report.status.exit_status)


def known_hosts(hosts: Sequence[str], cloud: "Cloud") -> None:
    """Refuse a host that cloud.yaml does not have, with the nearest that it has."""
    for host in hosts:
        if host not in cloud.hosts:
            near = difflib.get_close_matches(host, cloud.hosts, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(cloud.hosts)}"
            raise click.BadParameter(f"{cloud.path} has no host {host}; {hint}", param_hint="HOST")


def _checked(cloud: "Cloud", hosts: Sequence[str], *, deep: bool) -> "Report":
    from backstay.cli.output.findings import Report

    at, begun = datetime.now(UTC), time.monotonic()
    findings = asyncio.run(_with_patience(_findings(cloud, hosts, deep=deep), cloud))
    seconds = time.monotonic() - begun
    return Report(cloud=cloud.name, at=at, seconds=seconds, findings=findings)


async def _findings(cloud: "Cloud", hosts: Sequence[str], *, deep: bool) -> list[Finding]:
    from backstay.health.check import run

    async with _LateShell(cloud.bounds.connect_seconds) as shell:
        running, kept, fenced, called = await asyncio.gather(
            run(cloud, hosts=hosts or None, shell=shell, api=open_api(cloud), deep=deep),
            _of_backups(cloud, hosts),
            _nothing() if hosts else _of_fenced(cloud),
            _of_calls(cloud, hosts) if deep else _nothing(),
        )
    return running + kept + fenced + called


async def _nothing() -> list[Finding]:
    return []


async def _of_fenced(cloud: "Cloud") -> list[Finding]:
    """Read the power of hosts that were replaced and must stay off."""
    if not cloud.fenced:
        return []
    from backstay.health import fenced

    bound = min(cloud.bounds.host_seconds, fenced.BOUND)
    return await fenced.findings(cloud.fenced, bound=bound)


async def _of_calls(cloud: "Cloud", hosts: Sequence[str]) -> list[Finding]:
    """Call every agent by a message through the broker: the only proof that it takes work."""
    from backstay.access.session import CloudSession
    from backstay.health.rpc.agents import diagnose_agents, findings, not_called
    from backstay.transports.ssh import HostShell

    async with HostShell(connect_bound=cloud.bounds.connect_seconds) as shell:
        site = CloudSession(cloud=cloud, shell=shell, api=open_api(cloud))
        try:
            _, judged = await diagnose_agents(site, hosts or None)
        except ApiError as error:
            return [not_called(error)]
        return findings(judged)


async def _of_backups(cloud: "Cloud", hosts: Sequence[str]) -> list[Finding]:
    """Read what this machine keeps while the hosts answer: its disk may be another's, and hang."""

    def read() -> list[Finding]:
        from backstay.backup.findings import findings

        return findings(cloud, hosts, now=time.time())

    try:
        return await on_thread(read, cloud.bounds.host_seconds)
    except TimeoutError:
        return [
            Finding(
                host=None,
                service="backup",
                subject="catalogue",
                severity=Severity.UNKNOWN,
                evidence=f"not read within {cloud.bounds.host_seconds:g} s",
                remedy="see the disk that `folder` under `backup` is on",
            )
        ]


class _LateShell:
    """The hosts' shell, imported on a thread: keystone makes the token meanwhile.

    Importing asyncssh and making a token take about as long, and each waits for nothing else.
    """

    def __init__(self, connect_bound: float) -> None:
        self.connect_bound = connect_bound
        self._shell: asyncio.Future[HostShell] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._shell and self._shell.done() and not self._shell.cancelled():
            self._shell.result().close()

    async def answer(self, target: "SshTarget", script: str, *, bound: float) -> "Answer":
        """Ask a host as ``HostShell.answer`` does."""
        if self._shell is None:
            self._shell = asyncio.ensure_future(on_thread(self._imported, _IMPORT_BOUND))
        shell = await asyncio.shield(self._shell)
        return await shell.answer(target, script, bound=bound)

    def _imported(self) -> "HostShell":
        from backstay.transports.ssh import HostShell

        return HostShell(connect_bound=self.connect_bound)


def open_api(cloud: "Cloud") -> "OpenStackApi | BackstayError":
    """Return the APIs, or the error that becomes a finding: hosts are checked all the same."""
    from backstay.inventory.credentials import variables
    from backstay.transports.openstack import OpenStackApi

    try:
        return OpenStackApi(
            variables(cloud.credentials),
            region=cloud.region,
            interface=cloud.interface,
            bound=cloud.bounds.api_seconds,
        )
    except BackstayError as error:
        return error


async def _with_patience(
    findings: Coroutine[Any, Any, list[Finding]], cloud: "Cloud"
) -> list[Finding]:
    """Await the findings; a person at a terminal sees after a while that something goes on."""
    asked = asyncio.ensure_future(findings)
    try:
        await asyncio.wait([asked], timeout=_PATIENCE)
        if asked.done() or not sys.stderr.isatty():
            return await asked
        from rich.console import Console

        with Console(stderr=True).status(f"asking {len(cloud.hosts)} hosts and the APIs…"):
            return await asked
    finally:
        if not asked.done():
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


def _shown(report: "Report", output: str, *, quiet: bool, verbose: bool) -> str:
    from backstay.cli.output.findings import findings_document, findings_table, plugin_line

    if output == "json":
        return findings_document(report)
    if output == "nagios":
        return plugin_line(report)
    width = max(40, min(100, shutil.get_terminal_size().columns))
    return findings_table(report, width=width, verbose=verbose, quiet=quiet)
