"""The AMQP login against brokers that misbehave in one way each."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from backstay.services.rabbitmq.login import rabbit_login

START = struct.pack(">HHBBI", 10, 10, 0, 9, 0) + struct.pack(">I", 5) + b"PLAIN" + b"\x00" * 4
TUNE = struct.pack(">HHHIH", 10, 30, 2047, 131072, 60)
OPEN_OK = struct.pack(">HHB", 10, 41, 0)


def frame(payload: bytes) -> bytes:
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


@contextmanager
def broker(serve: Callable[[socket.socket], Any]) -> Iterator[dict[str, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        yield {
            "host": "127.0.0.1",
            "port": port,
            "user": "nova",
            "password": "pass-word",
            "vhost": "/",
            "tls": False,
        }
        thread.join(10)


def test_a_whole_login():
    said = []

    def serve(connection):
        said.append(connection.recv(8))
        connection.sendall(frame(START))
        said.append(connection.recv(4096))
        connection.sendall(frame(TUNE) + frame(OPEN_OK))
        while connection.recv(4096):
            pass

    with broker(serve) as access:
        assert rabbit_login(access, 5) == {"login": "done"}
    assert said[0] == b"AMQP\x00\x00\x09\x01"
    assert b"\x00nova\x00pass-word" in said[1]


def test_refused_users_are_told_without_their_password():
    def serve(connection):
        connection.recv(8)
        connection.sendall(frame(START))
        connection.recv(4096)

    with broker(serve) as access:
        answer = rabbit_login(access, 5)
    assert "refuses" in answer["refused"]
    assert "pass-word" not in str(answer)


def test_a_broker_that_takes_the_connection_and_says_nothing():
    done = threading.Event()
    with broker(lambda _connection: done.wait(10)) as access:
        answer = rabbit_login(access, 0.3)
        done.set()
    assert "timed out" in answer["failed"]


def test_something_else_on_the_port():
    with broker(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as access:
        assert "failed" in rabbit_login(access, 1)


def test_the_length_that_a_frame_says_is_not_believed():
    """Of 4 GB that are only announced none are made room for."""

    def serve(connection):
        connection.recv(8)
        connection.sendall(struct.pack(">BHI", 1, 0, 0xFFFFFFF0) + b"x")
        connection.recv(4096)

    with broker(serve) as access:
        failed = rabbit_login(access, 5)["failed"]
    assert failed.endswith("what answers there does not speak AMQP")
