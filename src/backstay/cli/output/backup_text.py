"""What a backup holds, for a person."""

from typing import TYPE_CHECKING

from backstay.quantities import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backstay.backup.catalogue import Backup


def contents_lines(one: "Backup") -> "Iterator[str]":
    """Give a line for each group: its files and their size, its databases and theirs."""
    width = max(map(len, one.contents), default=0)
    for name, group in one.contents.items():
        files = f"{group['files']} file{'' if group['files'] == 1 else 's'}"
        held = f"{files:>10} {size(group['bytes']):>10}"
        databases = ", ".join(f"{db} {size(length)}" for db, length in group["databases"].items())
        yield f"  {name:<{width}} {held}{f'   databases: {databases}' if databases else ''}"
