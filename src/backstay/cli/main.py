"""The ``backstay`` command. Each subcommand's module is imported only when it is called."""

import contextlib
import gc
import os
import sys
from typing import NoReturn

import click

from backstay import __version__
from backstay.cli.group import RootGroup

COMMANDS = {
    "check": (
        "backstay.cli.check",
        "check",
        "Check that everything that should run runs, and works.",
    ),
    "impact": (
        "backstay.cli.impact",
        "impact",
        "Show what users lose and keep while a host is down.",
    ),
    "reboot": (
        "backstay.cli.reboot",
        "reboot",
        "Reboot hosts in a window: gates before, checks after.",
    ),
    "reattach": (
        "backstay.cli.reattach",
        "reattach",
        "Find agents that look alive and do not process RPC messages; restart only those.",
    ),
    "reconcile": (
        "backstay.cli.reconcile",
        "reconcile",
        "Compare records with what really exists; repair what is safe.",
    ),
    "plan": ("backstay.cli.reboot", "plan", "Show what a runbook would do; change nothing."),
    "backup": (
        "backstay.cli.backup",
        "backup",
        "Verified backups: create, list, show, verify, restore, prune, stream.",
    ),
    "replace": (
        "backstay.cli.replace",
        "replace",
        "Build a dead controller or storage proxy anew on a spare.",
    ),
    "spare": (
        "backstay.cli.spare",
        "spare",
        "Prepare spares before they are needed: prepare, status.",
    ),
    "watch": (
        "backstay.cli.watch",
        "watch",
        "Notice before users do: notifications, a status page, actions by policy.",
    ),
    "runs": ("backstay.cli.runs", "runs", "Runs in the journal: list, show, resume, abandon."),
    "lab": (
        "backstay.cli.lab",
        "lab",
        "A real OpenStack cloud to practise on (extra: backstay[lab]).",
    ),
}


@click.group(
    cls=RootGroup, elsewhere=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="backstay")
def backstay() -> None:
    """Backstay keeps an OpenStack control plane standing.

    Exit statuses are the same for all commands: 0 ok, 1 warning or differs, 2 failed, 3 unknown,
    4 refused, 64 called wrongly, 130 interrupted.
    """


def main() -> NoReturn:
    """Run the command line and end with its exit status."""
    # Importing makes many objects that stay; looking through them for garbage again and again is a
    # tenth of a check's own work.
    gc.set_threshold(50_000)
    try:
        backstay.main()
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else int(bool(ended.code)))


def _leave(status: int) -> NoReturn:
    """End at once: taking every object apart first takes a tenth of a second after a check."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # the reader has closed the pipe
            stream.flush()
    os._exit(status)
