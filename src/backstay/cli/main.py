"""The ``backstay`` command. Each subcommand's module is imported only when it is called."""

import contextlib
import gc
import os
import sys
from typing import NoReturn

import click

from backstay import __version__
from backstay.cli.lazy import LazyGroup
from backstay.errors import BackstayError

COMMANDS = {
    "check": (
        "backstay.cli.check",
        "check",
        "Is everything running that should, and does it work?",
    ),
    "impact": (
        "backstay.cli.impact",
        "impact",
        "What do users lose and keep while a host is down?",
    ),
    "reboot": (
        "backstay.cli.reboot",
        "reboot",
        "Reboot hosts in a window: gates before, proof after.",
    ),
    "reattach": (
        "backstay.cli.reattach",
        "reattach",
        "Find agents that look alive and take no work; restart only those.",
    ),
    "reconcile": (
        "backstay.cli.reconcile",
        "reconcile",
        "Compare records with what really exists; heal what is safe.",
    ),
    "plan": ("backstay.cli.reboot", "plan", "Show what a runbook would do, and do nothing."),
    "backup": (
        "backstay.cli.backup",
        "backup",
        "Backups that are proved: create, list, show, verify, prune, stream.",
    ),
    "replace": (
        "backstay.cli.replace",
        "replace",
        "Build a dead controller or storage proxy anew on a spare.",
    ),
    "spare": (
        "backstay.cli.spare",
        "spare",
        "Spares that are ready before they are needed: prepare, status.",
    ),
    "watch": (
        "backstay.cli.watch",
        "watch",
        "Tell before users do: alerts, a status page, acts by policy.",
    ),
    "runs": ("backstay.cli.runs", "runs", "What was done: list, show, resume, abandon."),
    "lab": (
        "backstay.cli.lab",
        "lab",
        "A real OpenStack cloud to practise on (extra: backstay[lab]).",
    ),
}


@click.group(
    cls=LazyGroup, elsewhere=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="backstay")
def backstay() -> None:
    """Backstay keeps an OpenStack control plane standing."""


def main() -> NoReturn:
    """Run the command line; print errors for the operator instead of tracebacks.

    Exit status: the command's own; 2 where it was called wrongly, 3 for an error told in words,
    130 when interrupted.
    """
    # Importing makes many objects that stay; looking through them for garbage again and again is a
    # tenth of a check's own work.
    gc.set_threshold(50_000)
    try:
        status = _status()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    _leave(status)


def _status() -> int:
    try:
        status = backstay(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("backstay: interrupted", err=True)
        return 130
    except BackstayError as error:
        click.echo(f"backstay: {error.attempted}: {error.came_back}", err=True)
        click.echo(f"  what to do: {error.remedy}", err=True)
        return 3
    return status if isinstance(status, int) else 0


def _leave(status: int) -> NoReturn:
    """End at once: taking every object apart first takes a tenth of a second after a check."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # whoever read it has seen enough
            stream.flush()
    os._exit(status)
