"""The exit statuses of every command: the one table, which docs/exit-statuses.md explains."""

from enum import IntEnum
from typing import TYPE_CHECKING

import click

from backstay.cli.output.terminal import echo

if TYPE_CHECKING:
    from backstay.finding import Severity
    from backstay.journal.records import RunState


class ExitStatus(IntEnum):
    """What a command's end means. The first four are those of monitoring plugins.

    https://nagios-plugins.org/doc/guidelines.html#AEN78
    """

    OK = 0
    WARNING = 1
    """Also: something differs."""
    FAILED = 2
    UNKNOWN = 3
    """Also: Backstay cannot be used, or met an error that it did not expect."""
    REFUSED = 4
    """Nothing has been changed."""
    USAGE = 64
    """EX_USAGE of sysexits.h: an unknown command or option, a missing or wrong argument."""
    INTERRUPTED = 130


class Refused(click.ClickException):
    """The command was understood and will not be carried out; nothing has been changed."""

    exit_code = ExitStatus.REFUSED

    def __init__(self, reason: str, *, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy

    def show(self, file: object = None) -> None:
        """Print the reason and what to do."""
        echo(f"backstay: refused, nothing has been changed: {self.message}", err=True)
        if self.remedy:
            echo(f"  what to do: {self.remedy}", err=True)


def exit_statuses(*also: str, **meanings: str) -> str:
    """Return the lines about exit statuses that end a command's help.

    ``meanings`` are by the names of ``ExitStatus`` in lower case; ``also`` are further sentences.
    """
    pairs = [f"{ExitStatus[name.upper()].value} {meaning}" for name, meaning in meanings.items()]
    return " ".join([f"Exit status: {', '.join(pairs)}.", *also])


RUN_STATUSES = exit_statuses(
    ok="done",
    failed="failed part-way (backstay runs resume)",
    refused="refused, nothing changed",
)
"""What ends the help of every command that carries out a run."""


def of_severity(severity: "Severity") -> ExitStatus:
    """Return the status of a check's worst finding."""
    return ExitStatus[severity.name]


def of_run(state: "RunState") -> ExitStatus:
    """Return the status of a run that was carried out and has ended."""
    return {"done": ExitStatus.OK, "refused": ExitStatus.REFUSED}.get(state, ExitStatus.FAILED)
