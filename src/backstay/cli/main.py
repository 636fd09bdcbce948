"""The ``backstay`` command. Each subcommand's module is imported only when it is called."""

import importlib
import sys

import click

from backstay import __version__
from backstay.errors import BackstayError

# name on the command line -> (module, attribute, one line for --help)
COMMANDS = {
    "check": (
        "backstay.cli.check",
        "check",
        "Is everything running that should, and does it work?",
    ),
    "lab": ("backstay.cli.lab", "lab", "A real OpenStack cloud on this machine, to practise on."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called: ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are shown."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="backstay")
def backstay() -> None:
    """Backstay keeps an OpenStack control plane standing."""


def main() -> None:
    """Run the command line; print errors for the operator instead of tracebacks.

    Exit status: the command's own; 2 where it was called wrongly, 3 for an error told in words,
    130 when interrupted.
    """
    try:
        status = backstay(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("backstay: interrupted", err=True)
        sys.exit(130)
    except BackstayError as error:
        click.echo(f"backstay: {error.attempted}: {error.came_back}", err=True)
        click.echo(f"  what to do: {error.remedy}", err=True)
        sys.exit(3)
    sys.exit(status if isinstance(status, int) else 0)
