"""What a restore would do and change, for a person before it is begun."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import click

from backstay.backup.catalogue import State
from backstay.backup.choice import ends
from backstay.cli.output.run import plan_table
from backstay.journal.plan import Plan
from backstay.quantities import duration
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
    state = click.style(backup.state.value.upper(), fg=_COLOURS[backup.state], bold=True)
    whole = ends(backup)
    age = duration((now - whole).total_seconds())
    lines = [f"{backup.name}: {state}, of {whole.astimezone():%Y-%m-%d %H:%M:%S}, {age} ago"]
    if backup.state is not State.VERIFIED:
        lines.append(click.style("  it is not proved that it can be restored", fg="yellow"))
    lines += [click.style(f"  {loss}", fg="yellow") for loss in losses]
    bound = f"  at most {duration(plan.bound)}; nothing that runs is touched before `{until}`\n"
    return "\n".join(lines) + "\n" + plan_table(plan) + bound


def differences_text(found: Difference, *, as_json: bool) -> str:
    """Return what a restore would change on the host."""
    if as_json:
        return json.dumps(asdict(found), indent=2) + "\n"
    lines = [click.style("would change", bold=True)]
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
    shown = [f"    {name}" for name in names[:_SHOWN]]
    more = [f"    and {len(names) - _SHOWN} more (-o json names all)"]
    return [f"  {what}", *shown, *(more if len(names) > _SHOWN else [])]
