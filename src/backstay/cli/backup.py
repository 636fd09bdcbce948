"""``backstay backup``: take backups of hosts, prove them, keep the right ones."""

import asyncio
import importlib
import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.carrying import carry_out, open_store
from backstay.cli.check import known_hosts
from backstay.cli.cloud_option import cloud_option, load_cloud
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backstay.backup.catalogue import Backup
    from backstay.backup.place import Place
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan

_COLOURS = {"verified": "green", "taken": "yellow", "failed": "red"}
_PRUNE_BOUND = 3600.0


# Commands that live in modules of their own: name -> (module, attribute, one line for --help)
ELSEWHERE = {
    "stream": ("backstay.cli.backup_stream", "stream", "Keep receiving the binary log."),
}


class BackupGroup(click.Group):
    """The group, with the commands of other modules imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are shown."""
        return [*super().list_commands(ctx), *ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing its module where it has one of its own."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = ELSEWHERE[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing other modules."""
        own = [(name, command.get_short_help_str()) for name, command in self.commands.items()]
        elsewhere = [(name, line) for name, (_, _, line) in ELSEWHERE.items()]
        with formatter.section("Commands"):
            formatter.write_dl(own + elsewhere)


@click.group(cls=BackupGroup)
def backup() -> None:
    """Take backups of hosts, prove them by restoring them, keep the right ones."""


@backup.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--verify/--no-verify", default=False, help="Prove each backup when it is taken.")
@click.option("--reason", default="", help="Why, for the journal.")
@cloud_option
@output_option
def create(
    hosts: tuple[str, ...], verify: bool, reason: str, cloud: Path | None, output: str
) -> None:
    """Back up HOSTs; without any, the controllers and storage proxies.

    Nothing half-taken is ever listed: a backup is in the catalogue when all of it is stored.
    """
    from backstay.inventory.words import Role  # noqa: PLC0415 - heavy
    from backstay.runbooks.backup.plan import plan  # noqa: PLC0415
    from backstay.services.registry import all_services  # noqa: PLC0415

    described = load_cloud(cloud)
    known_hosts(hosts, described)
    usual = [h.name for h in described.with_role(Role.CONTROLLER, Role.STORAGE_PROXY)]
    made = plan(described, hosts or usual, all_services(), verify=verify)
    _carry(described, made, reason, as_json=output == "json")


@backup.command()
@click.argument("name", metavar="BACKUP|HOST")
@cloud_option
@output_option
def verify(name: str, cloud: Path | None, output: str) -> None:
    """Prove a BACKUP, or the newest one of a HOST: restore it into a scratch server and look."""
    from backstay.runbooks.backup.plan import verify_plan  # noqa: PLC0415 - heavy

    described = load_cloud(cloud)
    found = _place(described).catalogue.named(name)
    made = verify_plan(described, found.host, found.name)
    _carry(described, made, f"verify {found.name}", as_json=output == "json")


@backup.command("list")
@cloud_option
@output_option
def list_backups(cloud: Path | None, output: str) -> None:
    """List the backups, the newest first, with their states."""
    found = _place(load_cloud(cloud)).catalogue.backups()
    if output == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        click.echo(_table(found), nl=False)


@backup.command()
@click.argument("name", metavar="BACKUP|HOST")
@cloud_option
@output_option
def show(name: str, cloud: Path | None, output: str) -> None:
    """Show what is in a BACKUP, or in the newest one of a HOST, and what proves it."""
    found = _place(load_cloud(cloud)).catalogue.named(name)
    if output == "json":
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        click.echo(_details(found), nl=False)


@backup.command()
@click.option("--dry-run", is_flag=True, help="Only say which would go.")
@cloud_option
def prune(dry_run: bool, cloud: Path | None) -> None:
    """Remove the backups that `keep` does not hold, never the last verified one of a host.

    With them go the binary logs that no backup needs any more.
    """
    from backstay.backup.logs import not_needed  # noqa: PLC0415 - heavy
    from backstay.backup.retention import to_forget  # noqa: PLC0415

    described = load_cloud(cloud)
    place = _place(described)
    hosts = {one.host for one in place.catalogue.backups()}
    going = [
        one
        for host in sorted(hosts)
        for one in to_forget(place.catalogue.backups(host=host), described.backup.keep)
    ]
    for one in going:
        click.echo(f"{'would remove' if dry_run else 'removes'} {one.name} ({one.state})")
    if not going:
        click.echo("nothing to remove")
    if not dry_run and going:
        # From the catalogue first: none is listed whose data are gone.
        place.catalogue.remove([one.name for one in going])
        snapshots = [snapshot for one in going for snapshot in one.snapshots.values()]
        asyncio.run(place.restic().forget(snapshots, prune=True, bound=_PRUNE_BOUND))
    for host in sorted(hosts):
        kept = [one for one in place.catalogue.backups(host=host) if one not in going]
        for file in not_needed(place.logs(host).incarnations(), kept):
            click.echo(f"{'would remove' if dry_run else 'removes'} {file}: no backup needs it")
            if not dry_run:
                file.unlink()


def _carry(cloud: "Cloud", plan: "Plan", reason: str, *, as_json: bool) -> None:
    store = open_store()
    run = store.create(plan, reason=reason)
    sys.exit(carry_out(cloud, store, store.run(run), as_json=as_json))


def _place(cloud: "Cloud") -> "Place":
    from backstay.backup.place import Place  # noqa: PLC0415 - heavy

    return Place(cloud)


def _table(backups: "Sequence[Backup]") -> str:
    from backstay.health.words import duration, size  # noqa: PLC0415 - heavy

    if not backups:
        return "no backups yet: backstay backup create --verify\n"
    rows = [("backup", "host", "taken", "state", "size", "new", "restores in")]
    for one in backups:
        restores = one.proof.get("restore_seconds")
        rows.append((
            one.name, one.host, _clock(one.taken_at), one.state.value,
            size(sum(one.sizes.values())), size(sum(one.added.values())),
            duration(restores) if restores else "-",
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if number:
            cells[3] = click.style(cells[3], fg=_COLOURS[row[3]])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _details(one: "Backup") -> str:
    from backstay.health.words import duration, size  # noqa: PLC0415 - heavy

    state = click.style(one.state.value.upper(), fg=_COLOURS[one.state.value], bold=True)
    lines = [
        f"{state}: {one.name}, of {one.host}, taken {_clock(one.taken_at)} in "
        f"{duration(one.seconds)}",
        f"  {one.files} files, {one.packages} packages installed",
    ]
    lines += [
        f"  {part:<10} {size(one.sizes[part]):>10}, {size(one.added[part])} of it new "
        f"(snapshot {snapshot})"
        for part, snapshot in one.snapshots.items()
    ]
    if one.facts:
        position = " ".join(one.facts["position"]) or "no binary log"
        tables = len(one.facts["rows_before"])
        lines.append(f"  MariaDB {one.facts['version']}, {tables} tables, up to {position}")
    if one.proof:
        took = duration(one.proof.get("restore_seconds") or 0.0)
        lines.append(f"  proved {_clock(one.proof['at'])}, restored in {took}")
        lines += [f"  wrong: {problem}" for problem in one.proof["problems"]]
    else:
        lines.append(f"  not proved yet: backstay backup verify {one.name}")
    return "\n".join(lines) + "\n"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
