"""What is run to build a host, as a plain value: a shell script and how its end is read."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_ERROR = re.compile(r"\b(error|fatal|failed|could not|unable to|denied)\b|^E: ", re.IGNORECASE)
_COLOURS = re.compile("[\x1b\N{REPLACEMENT CHARACTER}]\\[[0-9;]*m")  # raw, or cleaned
_TOLD = 4
AWAIT = '/bin/sh "${BACKSTAY_AWAIT:-/dev/null}"'
"""Waits in a shell until the command is released; continues at once where nothing holds it.

Its bound is that of the command.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One long command: its short name, and what it does in the operator's words.

    ``good`` are the exit statuses of success.

    ``here`` says that it runs on the operator's machine. ``serious`` finds the lines of its log
    that say why it failed. ``after`` is a shell line that is run when it ends, however it ends.

    ``waits``: it may be started early: before its first change it runs ``AWAIT``, which
    ends with ``LongCommand.let_go``.

    ``secrets`` are values that are taken out of what it prints, before that is shown or stored.
    """

    name: str
    does: str
    script: str
    good: frozenset[int] = frozenset({0})
    here: bool = False
    serious: re.Pattern[str] = _ERROR
    after: str = ""
    waits: bool = False
    secrets: frozenset[str] = frozenset()


class Provision(Protocol):
    """How a site builds a host by its own means."""

    def work(self, host: str, address: str) -> Work:
        """Return what builds the host of this name at this address."""


def script(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: str = "",
    before: str = "",
) -> str:
    """Return a shell script of one command, each of its words as it stands.

    ``before`` is a line of shell before it, which may ``set`` further words.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in (environment or {}).items()]
    if folder:
        lines.append(f"cd {shlex.quote(folder)} || exit 1")
    command = f"exec {shlex.join(argv)}"
    return "\n".join([*lines, *([before, f'{command} "$@"'] if before else [command]), ""])


def last_errors(log: str, serious: re.Pattern[str] = _ERROR) -> str:
    """Return the last lines of a log that say what went wrong, else its last line. Pure."""
    lines = [_COLOURS.sub("", line).strip() for line in log.splitlines()]
    lines = [line for line in lines if line]
    found = list(dict.fromkeys(line for line in lines if serious.search(line)))[-_TOLD:]
    return " | ".join(line[:300] for line in found or lines[-1:]) or "it printed nothing"


def last_line(text: str) -> str:
    """Return the last line that says something, short enough for a line of progress. Pure."""
    lines = [_COLOURS.sub("", line).strip() for line in text.splitlines()]
    return next((line[:150] for line in reversed(lines) if line), "")
