"""Groups of commands: modules are imported when they are called, errors become exit statuses."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from backstay.cli.earlier_units import current_words
from backstay.cli.exit_status import ExitStatus
from backstay.cli.output.terminal import ErrorStream, echo, show
from backstay.errors import BackstayError, own_error

if TYPE_CHECKING:
    import asyncio

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
        words = list(sys.argv[1:] if args is None else args)

        def call() -> object:
            if debugging():
                show_what_is_sent()
            current, remedy = current_words(words)
            if remedy:
                echo(f"backstay: called as by an earlier version; what to do: {remedy}", err=True)
            return super(RootGroup, self).main(current, *arguments, **options)

        options["standalone_mode"] = False
        sys.exit(_status(call, words))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Call the command. Two kinds of errors are taken from click's own hands.

        Around a command click takes every EOFError for an end typed by the operator, and every
        EPIPE for the closed reader of the output; both may come from anywhere in it.
        """
        try:
            return super().invoke(ctx)
        except (EOFError, OSError) as error:
            raise _InCommand from error


class _InCommand(Exception):
    """Raised for its cause, an error that a command did not expect."""


def _status(call: Callable[[], object], words: Sequence[str]) -> int:
    """Call the command line, which was given ``words``; return its exit status."""
    output = sys.stdout
    try:
        try:
            returned = call()
        except _InCommand as error:
            raise error.__cause__ or error from None
    except SystemExit as ended:
        return _status_of_exit(ended.code, printed=sys.stdout is output)
    except (Exception, KeyboardInterrupt) as error:
        return _status_of_error(error, words)
    return returned if isinstance(returned, int) else ExitStatus.OK


def _status_of_exit(code: object, *, printed: bool) -> int:
    """Return the status of a command that has ended by itself.

    Not ``printed``: click has found the reader of the output gone, has put another stream into its
    place, and has called ``sys.exit(1)``.
    """
    if not printed:
        with contextlib.suppress(BackstayError):
            echo("backstay: printing: the reader of the output has closed it", err=True)
        return ExitStatus.UNKNOWN
    if code is None or isinstance(code, int):
        return code or ExitStatus.OK
    echo(f"backstay: {code}", err=True)
    return ExitStatus.UNKNOWN


def _status_of_error(error: Exception | KeyboardInterrupt, words: Sequence[str]) -> int:
    """Print an error for the operator; return its status."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        echo("backstay: interrupted", err=True)
        return ExitStatus.INTERRUPTED
    if isinstance(error, click.ClickException):
        show(error)
        usage = isinstance(error, click.UsageError)
        other = ExitStatus.UNKNOWN if error.exit_code == 1 else error.exit_code
        return ExitStatus.USAGE if usage else other
    if isinstance(error, BackstayError):
        _show(error)
        return ExitStatus.UNKNOWN
    _show(unexpected(error, words), cause=error)
    _show_to_monitoring(unexpected(error, words), words)
    return ExitStatus.UNKNOWN


def _show(error: BackstayError, cause: Exception | None = None) -> None:
    if debugging():
        import traceback

        echo("".join(traceback.format_exception(cause or error)), err=True, nl=False)
    show_error(error)


def _show_to_monitoring(error: BackstayError, words: Sequence[str]) -> None:
    """Print the line of a monitoring plugin where one was wanted: it shows standard output."""
    if "nagios" in {word.rpartition("=")[2].removeprefix("-o") for word in words}:
        from backstay.cli.output.findings import plugin_error

        echo(plugin_error(error), nl=False)


def show_error(error: BackstayError, name: str = "backstay") -> None:
    """Print what was attempted, what came back and what to do."""
    echo(f"{name}: {error.attempted}: {error.came_back}", err=True)
    echo(f"  what to do: {error.remedy}", err=True)


def unexpected(error: BaseException, words: Sequence[str]) -> BackstayError:
    """Return the error for one that Backstay did not expect, in the command with ``words``."""
    called = " ".join(word for word in words[:2] if not word.startswith("-"))
    return BackstayError(
        f"carrying out backstay {called}".rstrip(),
        came_back=own_error(error),
        remedy=f"get the details by the same command under {DEBUG}=1, and report them; what a run "
        "has done so far: backstay runs show",
    )


def report_loop_errors(loop: "asyncio.AbstractEventLoop") -> None:
    """Let an event loop report what nobody waits for in one line, as all errors are."""
    if not debugging():
        loop.set_exception_handler(_in_the_loop)


def _in_the_loop(_loop: "asyncio.AbstractEventLoop", context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    text = own_error(error) if isinstance(error, BaseException) else str(context.get("message"))
    with contextlib.suppress(BackstayError):
        echo(f"backstay: {text}; what to do: get the details under {DEBUG}=1", err=True)


def debugging() -> bool:
    """Return whether tracebacks and what is sent are to be shown."""
    return os.environ.get(DEBUG, "0") not in {"", "0"}


def show_what_is_sent() -> None:
    """Print each script and request that is sent, in short, on standard error."""
    import logging

    logger = logging.getLogger("backstay.sent")
    if not logger.handlers:
        handler = logging.StreamHandler(ErrorStream())
        handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.DEBUG)
