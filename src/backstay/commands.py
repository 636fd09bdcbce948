"""Command lines that a person copies: every word is quoted, whoever it came from.

Remedies hold names that hosts, APIs and users of the cloud have chosen. Whatever stands in such a
name, the shell that it is pasted into must take it for one word.
"""

import re
import shlex

from backstay.answers import clean

SSH, CONTROLLER = "{ssh}", "{controller}"
"""Stand for the commands that reach the host in question, and a controller, until the cloud is
known: see ``health.remedy``."""

_PLAIN = re.compile(r"[\w%+=:,./@-]+(?: +[\w%+=:,./@-]+)*", re.ASCII)
"""What a shell takes as it stands: words that ``shlex.quote`` leaves alone."""
_WITHIN_DOUBLE = re.compile(r'[^"$`!\\]|\\[^"$`!\\\n]')
"""What means itself between double quotes.
https://www.gnu.org/software/bash/manual/bash.html#Double-Quotes"""


def command(*words: str) -> str:
    """Return a command line of these words, each cleaned of controls and quoted. Pure."""
    return " ".join(quoted(clean(word)) for word in words)


def on_host(*words: str, at: str = SSH) -> str:
    """Return the command line that runs a command elsewhere, where ssh's shell reads it again.

    ``at`` is what reaches the host: ``SSH`` or ``CONTROLLER``. Pure.
    """
    return f"{at} {again(command(*words))}"


def into(text: str, *words: str, at: str = CONTROLLER) -> str:
    """Return the command line that gives a program elsewhere ``text`` to read. Pure."""
    return f"echo {quoted(clean(text))} | {on_host(*words, at=at)}"


def literal(value: str) -> str:
    """Return a text as a literal of MariaDB's SQL. Pure.

    https://mariadb.com/docs/server/reference/sql-structure/sql-language-structure/string-literals
    """
    return "'" + clean(value).replace("\\", "\\\\").replace("'", "''") + "'"


def again(line: str) -> str:
    """Return a command line as one word, or as it stands where that means the same. Pure."""
    return line if _PLAIN.fullmatch(line) else quoted(line)


def quoted(word: str) -> str:
    """Return a text as one word of a shell, and without what stands for another text. Pure."""
    quote = shlex.quote(word)
    if "'" in word and "".join(_WITHIN_DOUBLE.findall(word)) == word:
        quote = f'"{word}"'
    for placeholder in (SSH, CONTROLLER):
        name = placeholder.strip("{}")
        mark = quote[:1]
        quote = quote.replace(placeholder, f"{{{mark}{name}{mark}}}")
    return quote
