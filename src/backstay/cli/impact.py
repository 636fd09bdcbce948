"""``backstay impact HOST``."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.exit_status import exit_statuses
from backstay.cli.options import cloud_option, host_argument, output_option
from backstay.cli.output.terminal import echo, echo_json, style
from backstay.cli.session import open_cloud, open_session, require_hosts

if TYPE_CHECKING:
    from backstay.health.impact.judge import Effect
    from backstay.inventory.cloud import Cloud

_COLOURS = {"lost": "red", "kept": "green", "unknown": "magenta"}


@click.command(epilog=exit_statuses(ok="shown", unknown="the cloud cannot be read"))
@host_argument
@cloud_option
@output_option
def impact(host: str, cloud: Path | None, output: str) -> None:
    """Show what users lose and keep while HOST is down.

    It is read from the cloud as it is now: which endpoints and connections end on that host.
    """
    described = open_cloud(cloud)
    require_hosts([host], described)
    effects = asyncio.run(_effects(described, host))
    if output == "json":
        echo_json({"host": host, "effects": [asdict(one) for one in effects]})
        return
    echo(style(f"while {host} is down", bold=True))
    for effect in effects:
        kind = style(f"{effect.kind.upper():<8}", fg=_COLOURS[effect.kind])
        echo(f"  {kind}{effect.what}\n          {effect.why}")


async def _effects(cloud: "Cloud", host: str) -> "list[Effect]":
    from backstay.health.impact.judge import judge
    from backstay.health.impact.observe import observe_impact

    async with open_session(cloud) as session:
        return judge(await observe_impact(session, host))
