"""The secrets in what builds a host: they are not shown, whoever prints them. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from backstay.transports.urls import secrets_of

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|(^|[-_])(pw|pass)$|secret|token|credential"
    r"|(api|private|access)[-_]?key",
    re.IGNORECASE,
)
_SHORTEST = 4
"""Characters: what is shorter would be taken out of words that have nothing to do with it."""


def secrets_in(argv: Sequence[str], environment: Mapping[str, str]) -> frozenset[str]:
    """Return the values that look like secrets, by the names that they are given under.

    ``--password X``, ``--password=X``, ``admin_password=X``, a variable of such a name, and the
    password in a URL.
    """
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    found |= set(_of_words(argv))
    for text in (*argv, *environment.values()):
        name, given, url = text.partition("=")
        found |= set(secrets_of(url if given and "://" not in name else text))
    return frozenset(one for one in found if len(one) >= _SHORTEST)


def _of_words(argv: Sequence[str]) -> Iterator[str]:
    for word, following in pairwise((*argv, "")):
        name, given, value = word.partition("=")
        if not _SECRET_NAME.search(name.lstrip("-")):
            continue
        if given:
            yield value
        elif word.startswith("-"):
            yield following


def without_values(text: str, secrets: frozenset[str]) -> str:
    """Return a text with an ellipsis in the place of each of these values."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text
