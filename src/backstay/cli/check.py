"""``backstay check``: whether everything runs that should, and works."""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backstay.cli import completion
from backstay.cli.exit_status import exit_statuses, of_severity
from backstay.cli.options import cloud_option, hosts_argument
from backstay.cli.output.terminal import echo, waiting
from backstay.cli.output.text import terminal_width
from backstay.cli.session import open_cloud, open_session, require_hosts
from backstay.errors import BackstayError
from backstay.finding import Finding

if TYPE_CHECKING:
    from backstay.cli.output.findings import Report
    from backstay.inventory.cloud import Cloud

_PATIENCE = 2.0  # seconds until an operator at a terminal sees what it waits for


@click.command(
    epilog=exit_statuses(
        "These are those of monitoring plugins.",
        ok="ok",
        warning="warning",
        failed="failed",
        unknown="unknown",
    )
)
@hosts_argument
@cloud_option
@click.option("--deep", is_flag=True, help="Also create, use and delete an instance, a volume, …")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "nagios"]),
    default="table",
    show_default=True,
    help="Output format; nagios is that of monitoring plugins.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show only what is not ok.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is ok line by line.")
@click.option(
    "--without-witness",
    multiple=True,
    metavar="HOST",
    shell_complete=completion.hosts,
    help="Do not ask HOST who answers for the addresses of other hosts: it is proved to be wrong. "
    "May be repeated.",
)
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
    without_witness: tuple[str, ...],
    timeout: float | None,
) -> None:
    """Check the whole cloud, or only the HOSTs and the APIs that they serve."""
    try:
        described = open_cloud(cloud, warns=True)
    except BackstayError as error:
        if output == "nagios":  # it shows standard output
            from backstay.cli.output.findings import plugin_error

            echo(plugin_error(error), nl=False)
        raise
    require_hosts(hosts, described)
    require_hosts(without_witness, described, hint="--without-witness")
    if timeout is not None:
        bounds = {
            "connect_seconds": min(timeout, described.bounds.connect_seconds),
            "host_seconds": timeout,
            "api_seconds": timeout,
        }
        described = described.model_copy(
            update={"bounds": described.bounds.model_copy(update=bounds)}
        )
    report = _checked(described, hosts, deep=deep, without=without_witness)
    # https://no-color.org: any value but the empty one
    colour = False if os.environ.get("NO_COLOR") else None
    echo(_shown(report, output, quiet=quiet, verbose=verbose), nl=False, color=colour)
    sys.exit(of_severity(report.status))


def _checked(
    cloud: "Cloud", hosts: Sequence[str], *, deep: bool, without: Sequence[str]
) -> "Report":
    from backstay.cli.output.findings import Report

    at, started = datetime.now(UTC), time.monotonic()
    findings = asyncio.run(
        _with_patience(_findings(cloud, hosts, deep=deep, without=without), cloud)
    )
    seconds = time.monotonic() - started
    return Report(cloud=cloud.name, at=at, seconds=seconds, findings=findings)


async def _findings(
    cloud: "Cloud", hosts: Sequence[str], *, deep: bool, without: Sequence[str]
) -> list[Finding]:
    from backstay.health.check import check as whole_check

    async with open_session(cloud) as session:
        return await whole_check(session, hosts or None, deep=deep, without_witnesses=without)


async def _with_patience(
    findings: Coroutine[Any, Any, list[Finding]], cloud: "Cloud"
) -> list[Finding]:
    """Await the findings; an operator at a terminal sees after a while that it still works."""
    task = asyncio.ensure_future(findings)
    try:
        await asyncio.wait([task], timeout=_PATIENCE)
        if task.done() or not sys.stderr.isatty():
            return await task
        with waiting(f"asking {len(cloud.hosts)} hosts and the APIs…"):
            return await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _shown(report: "Report", output: str, *, quiet: bool, verbose: bool) -> str:
    from backstay.cli.output.findings import findings_document, findings_table, plugin_line

    if output == "json":
        return findings_document(report)
    if output == "nagios":
        return plugin_line(report)
    return findings_table(report, width=terminal_width(), verbose=verbose, quiet=quiet)
