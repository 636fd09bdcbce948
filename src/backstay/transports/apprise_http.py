"""What apprise's services send by HTTP, within the bounds of ``bounded_http``.

They call the functions of requests, which read an answer of any size and follow a redirect to any
server, with what the address holds: a token in a header or in the body. In the modules of apprise,
and nowhere else in this process, the name ``requests`` is that of a module which is the same but
for those functions and its Session. https://requests.readthedocs.io/en/latest/api/
"""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import requests

from backstay.transports.bounded_http import AnswerTooLong, LedElsewhere, bound_session
from backstay.transports.deadline import Deadline, watched


@dataclass(frozen=True, slots=True)
class SentByHttp:
    """One message that is sent: when it ``ends``, and the ``problems`` of its answers."""

    ends: Deadline = field(default_factory=Deadline)
    problems: list[str] = field(default_factory=list)


_sent: ContextVar[SentByHttp | None] = ContextVar("sent", default=None)
"""Apprise calls a service on another thread, to which it hands a copy of the context."""


@contextlib.contextmanager
def sent_by_http() -> Iterator[SentByHttp]:
    """Bound what services ask within the block; what is still open at its end is shut down."""
    message = SentByHttp()
    before = _sent.set(message)
    try:
        yield message
    finally:
        _sent.reset(before)
        message.ends.end()
        message.ends.close()


def bound_services() -> None:
    """Make the modules of apprise that are imported use what has bounds. May be repeated."""
    bounded = _bounded_requests()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "apprise" and vars(module).get("requests") is requests:
            vars(module)["requests"] = bounded


class _Session(requests.Session):
    """A session with bounds, whose connections end with the message that it sends."""

    def __init__(self) -> None:
        super().__init__()
        bound_session(self)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - handed on
        """Send it. Raises AnswerTooLong, LedElsewhere, and what requests raises."""
        message = _sent.get()
        try:
            with watched(Deadline(message.ends if message else None)):
                return super().send(request, **options)
        except (AnswerTooLong, LedElsewhere) as error:
            if message is not None:
                message.problems.append(str(error))
            raise


def _bounded_requests() -> ModuleType:
    """Return a module like requests, with bounds."""
    made = ModuleType("requests", requests.__doc__)
    vars(made).update(vars(requests))
    vars(made).update({"Session": _Session, "session": _Session, "request": _request})
    for method in ("get", "options", "head", "post", "put", "patch", "delete"):
        setattr(made, method, _function(method))
    return made


def _request(method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401 - handed on
    with _Session() as session:
        return session.request(method, url, **options)


def _function(method: str) -> Any:  # noqa: ANN401 - as requests has each
    """Return a function like that of requests: its second argument is the query or the body."""
    second = "params" if method == "get" else "data"

    def call(url: str, *given: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        named = dict(zip((second, "json"), given, strict=False))
        if method == "head":
            options.setdefault("allow_redirects", False)
        return _request(method, url, **named, **options)

    return call
