"""The options and arguments that commands share, what the shell completes, what --yes skips."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backstay.cli import completion
from backstay.cli.exit_status import Refused
from backstay.cli.output import terminal

if TYPE_CHECKING:
    from backstay.backup.restore_point import RestorePoint

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]

cloud_option = click.option(
    "--cloud",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="cloud.yaml; else $BACKSTAY_CLOUD, ./cloud.yaml, /etc/backstay/cloud.yaml, the lab's.",
)
run_cloud_option = click.option(
    "--cloud",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="cloud.yaml; else that of the RUN, where this machine has it; else as in other commands.",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
yes_option = click.option("--yes", is_flag=True, help="Skip confirmation.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would be done; change nothing."
)
reason_option = click.option("--reason", default="", help="Reason, recorded with the run.")
ticket_option = click.option("--ticket", default="", help="Change ticket, recorded with the run.")

SKIPPED = "backstay.skip_gates"


def _note_skipped(ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> None:
    ctx.meta[SKIPPED] = value


skip_healthy_option = click.option(
    "--skip-gate",
    multiple=True,
    type=click.Choice(["healthy"]),
    expose_value=False,
    callback=_note_skipped,
    help="Start although two hosts are in one place.",
)
"""For commands whose only gate that is; ``execution.start`` puts it into the plan."""

host_argument = click.argument("host", metavar="HOST", shell_complete=completion.hosts)
optional_host_argument = click.argument(
    "host", metavar="[HOST]", required=False, shell_complete=completion.hosts
)
hosts_argument = click.argument(
    "hosts", nargs=-1, metavar="[HOST]...", shell_complete=completion.hosts
)
backup_argument = click.argument(
    "name", metavar="BACKUP|HOST", shell_complete=completion.backups_and_hosts
)
run_argument = click.argument(
    "run", metavar="[RUN]", required=False, shell_complete=completion.runs
)


class DurationType(click.ParamType):  # type: ignore[type-arg]
    """A duration such as 90s or 10m; its value is in seconds."""

    name = "duration"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return seconds."""
        from backstay.inventory.fields import seconds

        try:
            return seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RestorePointType(click.ParamType):  # type: ignore[type-arg]
    """A moment to restore: `latest`, `backup` or a time, which is local without a zone."""

    name = "moment"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> "RestorePoint":
        """Return the moment."""
        from backstay.backup.restore_point import RestorePoint

        try:
            return RestorePoint.from_document("" if value == "backup" else value)
        except ValueError:
            self.fail(
                f"`{value}` is neither `latest`, `backup`, nor a time such as '2026-11-24 02:00'",
                param,
                ctx,
            )

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[Any]":
        """Return the two moments that have a name."""
        return completion.words(["latest", "backup"], incomplete)


def confirm(question: str, *, yes: bool, err: bool = False) -> None:
    """Ask the operator, unless ``yes`` is given already. Raises Refused where the answer is no."""
    if yes:
        return
    _require_terminal()
    if not terminal.confirm(question, err=err):
        raise Refused("not confirmed")


def confirm_name(statement: str, name: str, *, yes: bool) -> None:
    """Ask the operator to type the name that ``statement`` is about. Raises Refused."""
    if yes:
        return
    _require_terminal()
    typed = terminal.prompt(f"{statement}. Type its name to confirm")
    if typed.strip() != name:
        raise Refused(f"that is not {name}")


def _require_terminal() -> None:
    if not _has_terminal():
        raise click.UsageError("without a terminal this needs --yes")


def _has_terminal() -> bool:
    return sys.stdin.isatty()
