"""The ``backstay`` command. Each subcommand's module is imported only when it is called."""

import contextlib
import gc
import io
import os
import sys
import threading
from typing import NoReturn

import click

from backstay import __version__
from backstay.cli.exit_status import ExitStatus
from backstay.cli.group import DEBUG, RootGroup, debugging
from backstay.cli.output.terminal import echo, harmless
from backstay.cli.surroundings import settle
from backstay.errors import BackstayError, own_error

COMMANDS = {
    "check": (
        "backstay.cli.check",
        "check",
        "Check that everything that should run runs, and works.",
    ),
    "doctor": (
        "backstay.cli.doctor",
        "doctor",
        "Find all that the commands lack, here and on the hosts; say what corrects it.",
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
    """Run the command line and end with its exit status. Whatever happens, it is never a 1."""
    try:
        _leave(_run())
    except BaseException as error:  # not even the sentence about an error could be printed
        _last_words(error)
        os._exit(ExitStatus.UNKNOWN)


def _run() -> int:
    # Importing makes many objects that stay; looking through them for garbage again and again is a
    # tenth of a check's own work.
    gc.set_threshold(50_000)
    for stream in (sys.stdout, sys.stderr):
        # A locale without a character must not end a command that has done its work.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    settle(_say)
    if not debugging():
        threading.excepthook = _in_a_thread
        sys.unraisablehook = _nowhere
    try:
        backstay.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitStatus.UNKNOWN


def _say(text: str) -> None:
    """Print a line about the surroundings; completion has nobody who would read it."""
    if "_BACKSTAY_COMPLETE" not in os.environ:
        with contextlib.suppress(BackstayError):
            echo(f"backstay: {text}", err=True)


def _leave(status: int) -> NoReturn:
    """End at once: taking every object apart first takes a tenth of a second after a check."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # its reader has closed it, its disk is full, it is closed
            status = status or ExitStatus.UNKNOWN
    os._exit(status)


def _in_a_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        _last_words(failed.exc_value)


def _nowhere(failed: "sys.UnraisableHookArgs") -> None:
    if isinstance(failed.exc_value, Exception):
        _last_words(failed.exc_value)


def _last_words(error: BaseException) -> None:
    """Write the sentence with nothing that can fail: no buffer, no encoding, little memory."""
    with contextlib.suppress(Exception):
        text = f"backstay: {own_error(error)}; what to do: get the details under {DEBUG}=1\n"
        os.write(2, harmless(text).encode("ascii", "backslashreplace"))
