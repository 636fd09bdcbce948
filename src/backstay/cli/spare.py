"""``backstay spare``: make a spare ready before it is needed, and see for what it is."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backstay.cli.execution import carry_out, open_store
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def spare() -> None:
    """Make spares ready ahead of time, so that a replacement takes less."""


@spare.command()
@click.argument("name", metavar="SPARE")
@click.option("--for", "host", required=True, metavar="HOST", help="Whose place it shall take.")
@click.option("--reason", default="", help="Why, for the journal.")
@cloud_option
@output_option
def prepare(*, name: str, host: str, reason: str, cloud: Path | None, output: str) -> None:
    """Install the packages of HOST on SPARE and bring large files there; nothing is started.

    They are those of the newest verified backup. Again after packages were upgraded: it is quick.

    Exit status: 0 done, 2 failed half-way (backstay runs resume), 4 refused, nothing changed.
    """
    from backstay.backup.choice import RestorePoint, choose
    from backstay.backup.place import Place
    from backstay.runbooks.spare import plan

    described = load_cloud(cloud)
    _require_spare(described, name)
    if host not in described.hosts:
        raise click.BadParameter(f"{described.path} has no host {host}", param_hint="--for")
    now = datetime.now(UTC)
    backup = choose(Place(described).catalogue.backups(), host, RestorePoint(), now=now)
    store = open_store()
    run = store.create(plan(described, name, backup, now=now), reason=reason)
    sys.exit(carry_out(described, store, store.run(run), as_json=output == "json"))


@spare.command()
@click.argument("names", nargs=-1, metavar="[SPARE]...")
@cloud_option
@output_option
def status(names: tuple[str, ...], cloud: Path | None, output: str) -> None:
    """Tell for what each spare is prepared, and how much of it is not so any more.

    Exit status: 0 all are prepared, 1 one is not, or a host has newer packages, 3 one is silent.
    """
    described = load_cloud(cloud)
    for name in names:
        _require_spare(described, name)
    found = asyncio.run(_statuses(described, names))
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    for one in found if output != "json" else ():
        click.echo(f"{one['spare']}: {_words(one)}")
    states = {one["state"] for one in found}
    sys.exit(3 if "unknown" in states else int(states != {"prepared"}))


def _require_spare(cloud: "Cloud", name: str) -> None:
    from backstay.inventory.enums import Role

    spares = [host.name for host in cloud.with_role(Role.SPARE)]
    if name not in spares:
        raise click.BadParameter(f"{name} is none of the spares: {', '.join(spares) or 'none'}")


async def _statuses(cloud: "Cloud", names: tuple[str, ...]) -> list[dict[str, Any]]:
    from backstay.cli.session import open_session
    from backstay.inventory.enums import Role
    from backstay.runbooks.spare import readiness

    wanted = names or tuple(host.name for host in cloud.with_role(Role.SPARE))
    async with open_session(cloud) as site:
        return list(await asyncio.gather(*(readiness(site, name) for name in wanted)))


def _words(one: dict[str, Any]) -> str:
    from backstay.quantities import duration

    if one["state"] == "unknown":
        return f"UNKNOWN: {one['error']}"
    if one["state"] == "bare":
        return f"not prepared: backstay spare prepare {one['spare']} --for HOST"
    age = duration(time.time() - one["at"])
    words: str = f"prepared for {one['for']} {age} ago, of {one['backup']}"
    if one["state"] == "prepared":
        return words
    return (
        f"{words}; {one['behind']} packages differ from its newest backup: "
        f"backstay spare prepare {one['spare']} --for {one['for']}"
    )
