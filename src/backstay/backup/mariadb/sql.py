"""Names and texts that came from elsewhere, as SQL may have them. Also shipped as text: see onhost.

Whoever may make a table chooses its name. A name is quoted, and one that no service gives its
tables is refused; a text stands as the digits of its bytes, whatever the server's SQL mode is.
https://mariadb.com/kb/en/identifier-names/, https://mariadb.com/kb/en/hexadecimal-literals/
"""

import re

USUAL_NAME = re.compile(r"[0-9A-Za-z$_#@.~+ -]{1,128}")
"""What names may consist of: no quote, backslash or semicolon, no control character.

A dash is usual in the name of a database; ``#`` and ``@`` are in names that MariaDB itself gives.
"""
LOG_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.[0-9]{1,12}")


class UnusualName(ValueError):
    """A name that is not used in SQL: its text is short and clean."""


def identifier(name: str) -> str:
    """Return the name of a database, a table or a column, quoted. Raises UnusualName."""
    if not USUAL_NAME.fullmatch(name) or name.startswith("-") or name != name.strip():
        raise UnusualName(ascii(name[:80]) + " is no usual name")
    return "`" + name.replace("`", "``") + "`"


def table_identifier(name: str) -> str:
    """Return ``database.table`` with each of both quoted. Raises UnusualName.

    What comes after the first point is the table's name.
    """
    database, _, table = name.partition(".")
    try:
        return identifier(database) + "." + identifier(table)
    except UnusualName:
        what = "the table " + ascii(table[:80]) + " of the database " + ascii(database[:80])
        raise UnusualName(what + " has no usual name") from None


def literal(text: str) -> str:
    """Return a text as a value."""
    return "_utf8mb4 X'" + text.encode("utf-8", "replace").hex() + "'"


def listed(texts: "list[str]") -> str:
    """Return texts as the values of IN (...); an empty list has none that equals anything."""
    return "(" + (", ".join([literal(text) for text in texts]) or "NULL") + ")"


def is_word(name: str) -> bool:
    """Return whether it may stand in SQL as it is, as the name of a character set does."""
    return re.fullmatch("[0-9A-Za-z_]{1,64}", name) is not None


def is_log_name(name: str) -> bool:
    """Return whether it is the name of a binary log file, and of no other place."""
    return LOG_NAME.fullmatch(name) is not None and len(name) <= 255
