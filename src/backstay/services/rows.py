"""Rows of the databases, read once: each column has a declared form. Pure.

What a database holds was written by services, and some of it by users. A row that is not as its
query declares makes the answer of that query unreadable: a part of the records must not be taken
for all of them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backstay.answers import BadAnswer, clean, is_uuid

Row = Mapping[str, str]
"""A record: text of the declared form by the name of its column."""


class Column(StrEnum):
    """The form of a column's texts."""

    TEXT = "text"
    """Anything; it is cleaned, and of one line."""
    UUID = "UUID"
    """The identity of an object, which may stand in a path or a command."""
    UUID_OR_NONE = "UUID or empty"
    """The same, where there may be none: ``NULL`` or an empty text."""
    NUMBER = "number"
    """A number, which ``float`` reads."""
    COUNT = "whole number"
    """An integer that is not negative, which ``int`` reads."""


TEXT, UUID, UUID_OR_NONE = Column.TEXT, Column.UUID, Column.UUID_OR_NONE
NUMBER, COUNT = Column.NUMBER, Column.COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One SELECT on one line, and the columns that it gives; ``one_row`` where it gives one row."""

    text: str
    columns: Mapping[str, Column]
    one_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a query gave: names of columns, none of them where there is no row, and texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read_rows(query: Query, table: Table) -> Sequence[Row]:
    """Return the rows of a query's answer. Raises BadAnswer for the first that is not as declared.

    Without rows the client gives no names of columns either.
    """
    if table.rows and (
        len(table.columns) != len(query.columns) or set(table.columns) != set(query.columns)
    ):
        raise BadAnswer(f"columns {', '.join(table.columns)} instead of {', '.join(query.columns)}")
    if query.one_row and len(table.rows) != 1:
        raise BadAnswer(f"{len(table.rows)} rows instead of one")
    names = table.columns
    return [_read_row(query, names, row, number) for number, row in enumerate(table.rows, 1)]


def _read_row(query: Query, names: Sequence[str], row: Sequence[str], number: int) -> Row:
    if len(row) != len(names):
        raise BadAnswer(f"{len(row)} fields instead of {len(names)}", place=f"row {number}")
    return {
        name: _checked(query.columns[name], field, f"row {number}, {name}")
        for name, field in zip(names, row, strict=True)
    }


def _checked(kind: Column, field: str, place: str) -> str:
    if kind is Column.TEXT:
        return clean(field)
    if kind is Column.UUID_OR_NONE and field in {"", "NULL"}:
        return ""
    if not _FORMS[kind](field):
        raise BadAnswer(f"{clean(field, longest=60)!r} is no {kind.value}", place=place)
    return field


_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
_FORMS: Mapping[Column, Callable[[str], object]] = {
    Column.UUID: is_uuid,
    Column.UUID_OR_NONE: is_uuid,
    Column.NUMBER: _NUMBER.fullmatch,
    Column.COUNT: _COUNT.fullmatch,
}
