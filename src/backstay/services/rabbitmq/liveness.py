"""A message through the broker and back, on one connection that stays open. Runs on its host.

A login each second would fill the broker's log; what is done here leaves nothing in it. A broker
that blocks all publishers (memory or disk alarm) does not give the message back.
https://www.rabbitmq.com/amqp-0-9-1-reference, https://www.rabbitmq.com/docs/alarms
"""

import socket
import ssl
import struct
import time
from typing import Any

from backstay.services.rabbitmq.login import (
    rabbit_credentials,
    rabbit_frame,
    rabbit_send,
)
from backstay.services.rabbitmq.queues import rabbit_by_management, rabbit_up

BOUND = 1.4
CLOSES = (struct.pack(">HH", 10, 50), struct.pack(">HH", 20, 40))
PULSE = b"backstay"


def message_pulse(state: dict[str, Any]) -> str:
    """Send a message and take it again. Raises OSError, with the broker's words where it says no.

    The connection is kept in ``state``.
    """
    if "stream" not in state:
        state.update(rabbit_pulse_connection())
    stream, queue = state["stream"], state["queue"]
    started = time.monotonic()
    name = bytes([len(queue)]) + queue
    rabbit_method(stream, 60, 40, b"\0\0\0" + name + b"\0")
    header = struct.pack(">HHQH", 60, 0, len(PULSE), 0)
    stream.write(struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce")
    stream.write(struct.pack(">BHI", 3, 1, len(PULSE)) + PULSE + b"\xce")
    rabbit_method(stream, 60, 70, b"\0\0" + name + b"\1")
    if rabbit_answer(stream)[:4] != struct.pack(">HH", 60, 71):
        raise ConnectionError("a message that was sent is not in its queue")
    rabbit_frame(stream)
    if rabbit_frame(stream) != PULSE:
        raise ConnectionError("a message comes back as another")
    return f"a message came back in {(time.monotonic() - started) * 1000:.0f} ms"


def rabbit_pulse_connection() -> dict[str, Any]:
    """Return an open connection's stream, and the queue that is its own and goes with it."""
    access = rabbit_credentials()
    if access is None:
        raise ConnectionError("no transport_url found on this host")
    connection = socket.create_connection((access["host"], access["port"]), timeout=BOUND)
    connection.settimeout(BOUND)
    if access["tls"]:
        connection = ssl._create_unverified_context().wrap_socket(connection)  # noqa: S323 - to itself
    stream = connection.makefile("rwb")
    stream.write(b"AMQP\x00\x00\x09\x01")
    stream.flush()
    rabbit_answer(stream)
    response = f"\x00{access['user']}\x00{access['password']}".encode()
    sized = struct.pack(">I", len(response)) + response
    rabbit_send(stream, 11, struct.pack(">I", 0) + b"\x05PLAIN" + sized + b"\x05en_US")
    try:
        tune = rabbit_answer(stream)
    except ConnectionError:
        raise ConnectionError("the broker refuses the services' user and password") from None
    rabbit_send(stream, 31, tune[4:10] + b"\0\0")  # without heartbeats: there is traffic enough
    vhost = access["vhost"].encode()
    rabbit_send(stream, 40, bytes([len(vhost)]) + vhost + b"\x00\x00")
    rabbit_answer(stream)
    rabbit_method(stream, 20, 10, b"\0")
    rabbit_answer(stream)
    # exclusive and deleted by itself, with a name of the broker's choice
    rabbit_method(stream, 50, 10, b"\0\0\0" + bytes([4 | 8]) + struct.pack(">I", 0))
    declared = rabbit_answer(stream)
    return {"stream": stream, "queue": declared[5 : 5 + declared[4]]}


def rabbit_method(stream: Any, kind: int, method: int, arguments: bytes) -> None:  # noqa: ANN401
    """Write one method of any class, on the first channel."""
    payload = struct.pack(">HH", kind, method) + arguments
    stream.write(struct.pack(">BHI", 1, 1, len(payload)) + payload + b"\xce")
    stream.flush()


def rabbit_answer(stream: Any) -> bytes:  # noqa: ANN401 - a socket's file
    """Read one frame; that the broker closes connection or channel is raised, in its words."""
    payload = rabbit_frame(stream)
    if payload[:4] in CLOSES:
        raise ConnectionError(payload[7 : 7 + payload[6]].decode(errors="replace"))
    return payload


def poll_messaging() -> dict[str, Any]:
    """Return what the management API knows of queues and connections, without a login."""
    answer: dict[str, Any] = {"clock": time.time(), "up": rabbit_up()}
    try:
        answer.update(rabbit_by_management(rabbit_credentials()))
    except (OSError, ValueError, KeyError) as error:
        answer["trouble"] = f"the management API does not answer: {error}"
    return answer
