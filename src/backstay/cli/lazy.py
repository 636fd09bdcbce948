"""Groups whose commands live in modules of their own: imported only when they are called."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

Elsewhere = Mapping[str, tuple[str, str, str]]
"""Name on the command line -> (module, attribute, one line for ``--help``)."""


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
        own = [(name, one.get_short_help_str(room)) for name, one in self.commands.items()]
        elsewhere = [(name, line) for name, (_, _, line) in self.elsewhere.items()]
        with formatter.section("Commands"):
            formatter.write_dl(own + elsewhere)
