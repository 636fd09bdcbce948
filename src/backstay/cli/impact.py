"""``backstay impact HOST``."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.check import known_hosts
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option
from backstay.cli.session import open_session

if TYPE_CHECKING:
    from backstay.health.impact.judge import Effect
    from backstay.inventory.cloud import Cloud

_COLOURS = {"lost": "red", "kept": "green", "unknown": "magenta"}


@click.command()
@click.argument("host")
@cloud_option
@output_option
def impact(host: str, cloud: Path | None, output: str) -> None:
    """Say what users lose and keep while HOST is down.

    It is read from this cloud as it is now: whose endpoints and connections end there.
    """
    described = load_cloud(cloud)
    known_hosts([host], described)
    effects = asyncio.run(_effects(described, host))
    if output == "json":
        click.echo(
            json.dumps({"host": host, "effects": [asdict(one) for one in effects]}, indent=2)
        )
        return
    click.echo(click.style(f"while {host} is down", bold=True))
    for effect in effects:
        word = click.style(f"{effect.kind.upper():<8}", fg=_COLOURS[effect.kind])
        click.echo(f"  {word}{effect.what}\n          {effect.why}")


async def _effects(cloud: "Cloud", host: str) -> "list[Effect]":
    from backstay.health.impact.judge import judge
    from backstay.health.impact.observe import look

    async with open_session(cloud) as site:
        return judge(await look(site, host))
