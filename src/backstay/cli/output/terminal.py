"""The one way to the terminal: everything that is printed passes here, and is made harmless.

Text of hosts can hold sequences that set a terminal's title, its clipboard or its colours, move
its cursor, or turn the direction of writing. A terminal must never get these raw, from whatever
text they come: only the colours that ``style`` itself has set go through.
https://invisible-island.net/xterm/ctlseqs/ctlseqs.html, https://www.unicode.org/reports/tr36/
"""

import io
import os
import re
import sys
from contextlib import AbstractContextManager
from typing import IO, Any

import click

from backstay.errors import BackstayError

# Text of a host cannot hold this number, as it is another one in each process.
_OURS = int.from_bytes(os.urandom(8), "big")
_COLOUR = re.compile(rf"\x1b\[{_OURS};([0-9;]*)m")


class OutputFailed(BackstayError):
    """What was to be printed could not be: its reader has gone, or its disk is full."""


def style(text: str, *, fg: str | None = None, bold: bool | None = None) -> str:
    """Return text with colour codes that ``echo`` lets through, and strips without a terminal.

    They are marked as this process's own; ``click.unstyle`` takes them away too.
    """
    styled = click.style("\0", fg=fg, bold=bold)
    before, _, after = styled.partition("\0")
    return f"{_marked(before)}{text}{_marked(after)}"


def _marked(codes: str) -> str:
    return codes.replace("\x1b[", f"\x1b[{_OURS};")


def harmless(text: str) -> str:
    """Return text without anything that a terminal obeys, but for our own colours.

    Line feeds and tabs stay; the rest is shown as a replacement character.
    """
    from backstay.answers import clean

    parts = _COLOUR.split(text)  # text and the codes of a colour, in turn
    return "".join(
        f"\x1b[{part}m" if number % 2 else clean(part, longest=len(part), lines=True)
        for number, part in enumerate(parts)
    )


def echo(text: str = "", *, err: bool = False, nl: bool = True, color: bool | None = None) -> None:
    """Print text, made harmless, on standard output or standard error.

    ``color`` as click has it. Raises OutputFailed where it cannot be written.
    """
    _write(harmless(text), err=err, nl=nl, color=color)


def echo_json(document: object) -> None:
    """Print a document as JSON text. Raises OutputFailed."""
    import json

    echo(json.dumps(document, indent=2))


def redraw(line: str) -> None:
    """Write a line on standard error in the place of the one that the cursor is on."""
    _write(f"\r\x1b[K{harmless(line)}", err=True, nl=False, color=True)


def _write(text: str, *, err: bool, nl: bool, color: bool | None) -> None:
    stream = sys.stderr if err else sys.stdout
    try:
        click.echo(_encodable(text, stream), err=err, nl=nl, color=color)
    except OSError as error:
        raise OutputFailed(
            f"printing on standard {'error' if err else 'output'}",
            came_back="its reader has closed it"
            if isinstance(error, BrokenPipeError)
            else error.strerror or str(error),
            remedy="call it with an output that can be written; runs and their results are in "
            "the journal: backstay runs list",
        ) from error


def _encodable(text: str, stream: IO[str]) -> str:
    """Return text with what the stream's encoding lacks as escapes: ASCII where the locale is C."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if text.isascii():
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def confirm(question: str, *, err: bool = False) -> bool:
    """Ask a question that is answered by yes or no; no is the default."""
    return click.confirm(harmless(question), err=err)


def prompt(question: str) -> str:
    """Ask for a line of text, empty by default."""
    answer: str = click.prompt(harmless(question), default="", show_default=False)
    return answer


def show(error: click.ClickException) -> None:
    """Print an error of click's as it does itself, made harmless."""
    shown = io.StringIO()
    error.show(file=shown)
    echo(shown.getvalue(), err=True, nl=False)


class ErrorStream:
    """A stream for what writes by itself, such as handlers of ``logging``: to ``echo``."""

    def write(self, text: str) -> None:
        """Print a text on standard error."""
        echo(text, err=True, nl=False)

    def flush(self) -> None:
        """Do nothing: what was printed is out."""


def waiting(text: str) -> AbstractContextManager[object]:
    """Return a context in which standard error, a terminal, shows that something goes on."""
    from rich.console import Console

    return Console(stderr=True).status(rich_text(text))


def rich_text(text: str) -> Any:  # noqa: ANN401 - rich is imported only where it draws
    """Return text for rich's consoles: harmless, with our colours, nothing read as markup."""
    from rich.text import Text

    return Text.from_ansi(harmless(text))
