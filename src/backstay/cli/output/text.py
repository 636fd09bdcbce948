"""What all printed forms share: columns and times."""

import shutil
from collections.abc import Sequence
from datetime import datetime

from backstay.cli.output.terminal import style

_NARROWEST, _WIDEST = 60, 110


def local_time(at: float) -> str:
    """Return a Unix time as local date and time; a damaged one as the number that it is."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no calendar has it
        return f"{at:g}"


def columns(
    rows: Sequence[Sequence[str]], colours: Sequence[str | None] = (), coloured: int = 0
) -> str:
    """Return rows of text in aligned columns; the first row is the heading.

    ``colours`` are those of the cells in the column number ``coloured``, one for each row below the
    heading.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if number and colours:
            cells[coloured] = style(cells[coloured], fg=colours[number - 1])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def terminal_width() -> int:
    """Return the columns that text is wrapped to."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
