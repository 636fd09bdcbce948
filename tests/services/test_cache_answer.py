"""What is read of whoever listens at memcached's port has an end."""

import socket
from typing import Any

import pytest

from backstay.services.memcached import LONGEST_ANSWER, ask_cache


class Endless:
    """A connection on which something comes without end."""

    def __init__(self) -> None:
        self.given = 0

    def __enter__(self) -> "Endless":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        self.given += size
        assert self.given < 2 * LONGEST_ANSWER, "it is read on and on"
        return b"x" * size


def test_an_answer_without_end_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(*_: Any, **__: Any) -> Endless:
        return Endless()

    monkeypatch.setattr(socket, "create_connection", connected)
    assert ask_cache()["failed"].endswith("what answers there has no end")
