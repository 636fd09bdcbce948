"""Groups of commands: modules are imported when they are called, errors become exit statuses."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import click

from backstay.cli.earlier_units import current_words
from backstay.cli.exit_status import ExitStatus
from backstay.errors import BackstayError

Elsewhere = Mapping[str, tuple[str, str, str]]
"""Name on the command line -> (module, attribute, one line for ``--help``)."""
DEBUG = "BACKSTAY_DEBUG"
"""The variable that, set to anything but nothing or 0, shows tracebacks and what was sent."""


class LazyGroup(click.Group):
    """A group with a table of further commands, ``elsewhere``: ``--help`` stays fast."""

    def __init__(self, *arguments: Any, elsewhere: Elsewhere, **options: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(*arguments, **options)
        self.elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are shown."""
        return [*super().list_commands(ctx), *self.elsewhere]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing its module where it has one of its own."""
        if cmd_name not in self.elsewhere:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = self.elsewhere[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing other modules."""
        room = formatter.width - 6 - max(map(len, self.list_commands(ctx)))  # as click reckons
        own = [(name, command.get_short_help_str(room)) for name, command in self.commands.items()]
        elsewhere = [(name, line) for name, (_, _, line) in self.elsewhere.items()]
        with formatter.section("Commands"):
            formatter.write_dl(own + elsewhere)


class RootGroup(LazyGroup):
    """The whole command line. However it is called, it ends with one of ``ExitStatus``."""

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> NoReturn:  # noqa: ANN401 - click's
        """Run the command line and exit; print errors for the operator, never a traceback."""
        if debugging():
            show_what_is_sent()
        words, remedy = current_words(sys.argv[1:] if args is None else args)
        if remedy:
            click.echo(f"backstay: called as by an earlier version; what to do: {remedy}", err=True)
        options["standalone_mode"] = False
        sys.exit(_status(lambda: super(RootGroup, self).main(words, *arguments, **options)))


def _status(call: Callable[[], object]) -> int:
    """Call the command line; return its exit status."""
    try:
        returned = call()
    except click.UsageError as error:
        error.show()
        return ExitStatus.USAGE
    except click.ClickException as error:
        error.show()
        return ExitStatus.UNKNOWN if error.exit_code == 1 else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("backstay: interrupted", err=True)
        return ExitStatus.INTERRUPTED
    except BackstayError as error:
        _show(error)
        return ExitStatus.UNKNOWN
    except Exception as error:
        _show(_unexpected(error), cause=error)
        return ExitStatus.UNKNOWN
    return returned if isinstance(returned, int) else ExitStatus.OK


def _show(error: BackstayError, cause: Exception | None = None) -> None:
    if debugging():
        import traceback

        traceback.print_exception(cause or error)
    show_error(error)


def show_error(error: BackstayError, name: str = "backstay") -> None:
    """Print what was attempted, what came back and what to do."""
    click.echo(f"{name}: {error.attempted}: {error.came_back}", err=True)
    click.echo(f"  what to do: {error.remedy}", err=True)


def _unexpected(error: Exception) -> BackstayError:
    """Return the error for one that Backstay did not expect, with the place that it comes from."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    file = os.path.basename(frames[-1].filename)  # noqa: PTH119 - pathlib takes its time
    place = f" ({file}:{frames[-1].lineno})"
    text = " ".join(str(error).split())
    return BackstayError(
        "an error in Backstay itself",
        came_back=f"{type(error).__name__}: {text}{place}",
        remedy=f"report it with the output of the same command under {DEBUG}=1",
    )


def debugging() -> bool:
    """Return whether tracebacks and what is sent are to be shown."""
    return os.environ.get(DEBUG, "0") not in {"", "0"}


def show_what_is_sent() -> None:
    """Print each script and request that is sent, in short, on standard error."""
    import logging

    logger = logging.getLogger("backstay.sent")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.DEBUG)
