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
from typing import TYPE_CHECKING, Any

import click

from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.session import open_session
from backstay.finding import Finding

if TYPE_CHECKING:
    from backstay.cli.output.findings import Report
    from backstay.inventory.cloud import Cloud

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
    from backstay.health.check import check as whole_check

    async with open_session(cloud) as session:
        return await whole_check(session, hosts or None, deep=deep)


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
