"""What hosts ask their database and broker each second, against servers that speak in one way."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backstay.services.mariadb import liveness as mariadb_pulse
from backstay.services.mariadb.liveness import query_pulse, sql_framed
from backstay.services.rabbitmq import liveness
from backstay.services.rabbitmq.liveness import message_pulse
from tests.services.test_broker_login import OPEN_OK, START, TUNE, broker

GREETING = b"\x0a5.5.5-10.11.14-MariaDB\0" + b"\0" * 60
OK = b"\0\0\0\x02\0\0\0"
ROW = [b"\x01", b"\x03def\0\0\0\x011", b"\xfe\0\0\x02\0", b"\x011", b"\xfe\0\0\x02\0"]


@contextmanager
def database(path: Path, serve: Callable[[Any], None]) -> Iterator[list[bytes]]:
    """A server at a socket, and what it was sent."""
    sent: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def work() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as stream:

                def say(*packets: bytes, first: int = 0) -> bytes:
                    for number, packet in enumerate(packets, first):
                        stream.write(sql_framed(number, packet))
                    stream.flush()
                    head = stream.read(4)
                    sent.append(stream.read(int.from_bytes(head[:3], "little")))
                    return sent[-1]

                serve(say)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield sent
        thread.join(5)


def query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[Any], None]) -> Any:
    path = tmp_path / "mysqld.sock"
    monkeypatch.setattr(mariadb_pulse, "SOCKETS", (str(path),))
    monkeypatch.setattr(mariadb_pulse, "BOUND", 0.5)
    with database(path, serve) as sent:
        try:
            return query_pulse({}), sent
        except OSError as error:
            return error, sent


def test_a_server_that_answers_a_query(tmp_path, monkeypatch):
    def serve(say):
        say(GREETING)
        say(b"\xfeunix_socket\0", first=2)  # another method than the one that was offered
        say(OK, first=4)
        say(*ROW, first=1)

    said, sent = query(tmp_path, monkeypatch, serve)
    assert said.startswith("answers a query in ")
    assert b"root\0" in sent[0]
    assert sent[1:] == [b"", b"\x03SELECT 1", b"\x01"]


def test_a_server_that_refuses_is_quoted(tmp_path, monkeypatch):
    def serve(say):
        say(b"\xff\x10\x04#08004Too many connections")

    said, _ = query(tmp_path, monkeypatch, serve)
    assert isinstance(said, ConnectionError)
    assert "Too many connections" in str(said)


def test_a_server_that_hangs_times_out(tmp_path, monkeypatch):
    said, _ = query(tmp_path, monkeypatch, lambda say: say(GREETING) and say())
    assert isinstance(said, TimeoutError)


def method(kind: int, number: int, arguments: bytes = b"", channel: int = 1) -> bytes:
    payload = struct.pack(">HH", kind, number) + arguments
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


def frame(payload: bytes) -> bytes:
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def opened(connection: socket.socket) -> None:
    """Let a client in, with a queue of its own."""
    connection.recv(8)
    connection.sendall(frame(START))
    connection.recv(4096)
    connection.sendall(frame(TUNE))
    connection.recv(4096)
    connection.sendall(frame(OPEN_OK))
    connection.recv(4096)
    connection.sendall(method(20, 11, b"\0\0\0\0"))
    connection.recv(4096)
    connection.sendall(method(50, 11, b"\x04mine" + b"\0" * 8))


def until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        more = connection.recv(4096)
        if not more:
            break
        data += more
    return data


GET = b"\x04mine\1\xce"


def test_a_message_goes_out_and_comes_back_on_one_connection(monkeypatch):
    times = []

    def serve(connection):
        opened(connection)
        for _ in range(2):
            times.append(until(connection, GET))
            header = struct.pack(">HHQH", 60, 0, 8, 0)
            connection.sendall(method(60, 71, b"\0" * 20))
            connection.sendall(struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce")
            connection.sendall(struct.pack(">BHI", 3, 1, 8) + b"backstay" + b"\xce")

    with broker(serve) as access:
        monkeypatch.setattr(liveness, "rabbit_credentials", lambda: access)
        state: dict[str, Any] = {}
        for _ in range(2):
            assert message_pulse(state).startswith("a message came back in ")
        state["stream"].close()
    assert all(b"backstay" in one for one in times)


def test_a_message_that_is_not_there_is_an_error(monkeypatch):
    def serve(connection):
        opened(connection)
        until(connection, GET)
        connection.sendall(method(60, 72, b"\0"))

    with broker(serve) as access:
        monkeypatch.setattr(liveness, "rabbit_credentials", lambda: access)
        with pytest.raises(ConnectionError, match="not in its queue"):
            message_pulse({})


def test_a_broker_that_closes_the_channel_is_quoted(monkeypatch):
    def serve(connection):
        opened(connection)
        until(connection, GET)
        said = b"NOT_FOUND - no queue"
        connection.sendall(method(20, 40, struct.pack(">H", 404) + bytes([len(said)]) + said))

    with broker(serve) as access:
        monkeypatch.setattr(liveness, "rabbit_credentials", lambda: access)
        with pytest.raises(ConnectionError, match="NOT_FOUND - no queue"):
            message_pulse({})
