"""What hosts are asked. Shipped as text: standard library, Python 3.6."""

import socket
from typing import Any

from backstay.access.onhost import ask_all, loaded
from backstay.jsondata import Json


def answer(questions: Json, reader: Json, queries: Json, bound: Json) -> Json:
    """Ask all questions of a host at once, and its databases where ``queries`` are given.

    ``questions`` are lists of name, bound, source text and function's name; ``reader`` is the
    source text and name of the function that answers ``queries`` within ``bound``. An answer is a
    value, an error, or late.
    """
    asked: dict[str, Any] = {
        name: (limit, loaded(name, source, function)) for name, limit, source, function in questions
    }
    if queries:
        source, function = reader
        asked["records"] = (bound, loaded("records", source, function, queries, bound))
    answers = ask_all(asked)
    return {"names": [socket.gethostname()], "answers": answers}
