"""Backups for a person: a list, what one holds, and what a restore would do and change."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

from backstay.answers import clean
from backstay.backup.catalogue import Backup, State
from backstay.backup.mariadb import SERVER
from backstay.backup.restore_point import ends
from backstay.cli.output.run import plan_table
from backstay.cli.output.terminal import style
from backstay.cli.output.text import columns, local_time
from backstay.journal.plan import Plan
from backstay.quantities import duration, size
from backstay.runbooks.restore.difference import Difference
from backstay.runbooks.restore.plan import RestoreOptions

_COLOURS = {State.VERIFIED: "green", State.TAKEN: "yellow", State.FAILED: "red"}
_SHOWN = 8


def before(
    plan: Plan, chosen: RestoreOptions, losses: Sequence[str], *, now: datetime, until: str = "stop"
) -> str:
    """Return which backup is put back, what that loses, and the plan.

    ``until`` is the first step that touches anything that runs.
    """
    backup = chosen.backup
    state = style(backup.state.value.upper(), fg=_COLOURS[backup.state], bold=True)
    whole = ends(backup)
    age = duration((now - whole).total_seconds())
    lines = [f"{backup.name}: {state}, of {whole.astimezone():%Y-%m-%d %H:%M:%S}, {age} ago"]
    if backup.state is not State.VERIFIED:
        lines.append(style("  it is not proved that it can be restored", fg="yellow"))
    lines += [style(f"  {loss}", fg="yellow") for loss in losses]
    bound = f"  at most {duration(plan.bound)}; nothing that runs is touched before `{until}`\n"
    return "\n".join(lines) + "\n" + plan_table(plan) + bound


def differences_text(found: Difference, *, as_json: bool) -> str:
    """Return what a restore would change on the host."""
    if as_json:
        return json.dumps(asdict(found), indent=2) + "\n"
    lines = [style("would change", bold=True)]
    lines += _some(f"{len(found.files)} files", found.files)
    lines += _some(f"{len(found.folders)} folders", found.folders)
    lines += _some(
        f"{len(found.tables)} tables with another number of rows",
        [
            f"{table}: {'none' if now is None else now} now, {restored} in the backup"
            for table, (now, restored) in found.tables.items()
        ],
    )
    lines += [f"  not known: {why}" for why in found.unknown]
    return "\n".join(lines) + "\n"


def _some(what: str, names: Sequence[str]) -> list[str]:
    shown = [f"    {clean(name, longest=300)}" for name in names[:_SHOWN]]
    more = [f"    and {len(names) - _SHOWN} more (-o json names all)"]
    return [f"  {what}", *shown, *(more if len(names) > _SHOWN else [])]


def _contents(backup: Backup) -> Iterator[str]:
    """Give a line for each group: its files and their size, its databases and theirs."""
    width = max(map(len, backup.contents), default=0)
    for name, group in backup.contents.items():
        files = f"{group['files']} file{'' if group['files'] == 1 else 's'}"
        held = f"{files:>10} {size(group['bytes']):>10}"
        databases = ", ".join(f"{db} {size(length)}" for db, length in group["databases"].items())
        yield f"  {name:<{width}} {held}{f'   databases: {databases}' if databases else ''}"


def backups_table(backups: Sequence[Backup]) -> str:
    """Return one line for each backup."""
    rows = [("backup", "host", "taken", "state", "size", "new", "restores in")]
    for backup in backups:
        restores = backup.proof.get("restore_seconds")
        rows.append(
            (
                backup.name,
                backup.host,
                local_time(backup.taken_at),
                backup.state.value,
                size(sum(backup.sizes.values())),
                size(sum(backup.added.values())),
                duration(restores) if restores else "-",
            )
        )
    return columns(rows, [_COLOURS[backup.state] for backup in backups], coloured=3)


def backup_text(backup: Backup) -> str:
    """Return what is in a backup, what it takes in the repository, and what proves it."""
    state = style(backup.state.value.upper(), fg=_COLOURS[backup.state], bold=True)
    lines = [
        f"{state}: {backup.name}, of {backup.host}, taken {local_time(backup.taken_at)} in "
        f"{duration(backup.seconds)}",
        f"  {backup.files} files; the list of {backup.packages} installed packages",
        *_contents(backup),
        "  stored:",
    ]
    lines += [
        f"  {part:<10} {size(backup.sizes.get(part, 0)):>10}, "
        f"{size(backup.added.get(part, 0))} of it new (snapshot {snapshot})"
        for part, snapshot in backup.snapshots.items()
    ]
    lines += _database(backup) if backup.facts else []
    if backup.proof:
        took = duration(backup.proof.get("restore_seconds") or 0.0)
        at = backup.proof.get("at")
        when = "at an unknown time" if at is None else local_time(at)
        lines.append(f"  verified {when}, restored in {took}")
        lines += [f"  wrong: {problem}" for problem in backup.proof.get("problems", ())]
    else:
        lines.append(f"  not verified yet: backstay backup verify {backup.name}")
    return "\n".join(lines) + "\n"


def _database(backup: Backup) -> Iterator[str]:
    position = " ".join(backup.facts["position"]) or "no binary log"
    tables = len(backup.facts["rows_before"])
    kind = f"{SERVER} {backup.facts['version']}, {backup.engine.value}"
    yield f"  {kind}, {tables} tables, up to {position}"
    unknown = backup.facts.get("release", {}).get("unknown", {})
    for name, why in unknown.items():
        yield f"  schema of {name} not compared with that of its release: {why}"
