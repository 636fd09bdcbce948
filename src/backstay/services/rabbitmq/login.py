"""Logging in to the broker as a service does, and asking its management API. Runs on its host."""

import base64
import json
import re
import socket
import ssl
import struct
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from backstay.jsondata import Json

LONGEST_FRAME = 1 << 20
"""Bytes that a frame may say that it has: what answers at the port may be anything."""
LONGEST_ANSWER = 16 << 20


def rabbit_credentials() -> dict[str, Any] | None:
    """Return host, port, user, password and virtual host from a service's ``transport_url``.

    Runs on the host. The form is rabbit://user:password@host:port[,…]/vhost:
    https://docs.openstack.org/oslo.messaging/latest/reference/transport.html
    """
    for name in ("nova/nova", "neutron/neutron", "cinder/cinder"):
        try:
            text = Path(f"/etc/{name}.conf").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = re.search(
            r"^transport_url\s*=\s*rabbit://([^:@/\s]*):([^@/\s]*)@\[?([^\],:/\s]+)\]?(?::(\d+))?"
            r"[^/\s]*(?:/([^?\s]*))?(\?\S*)?",
            text,
            re.MULTILINE,
        )
        if found:
            user, password, host, port, vhost, options = found.groups()
            return {
                "user": unquote(user),
                "password": unquote(password),
                "host": host,
                "port": int(port or 5672),
                "vhost": unquote(vhost or "") or "/",
                "tls": "ssl=1" in (options or "") or "ssl=true" in (options or "").lower(),
            }
    return None


def rabbit_frame(stream: Any) -> bytes:  # noqa: ANN401 - a socket's file
    """Read one AMQP method frame and return its payload. Runs on the host.

    A frame is type, channel, size, payload, 0xCE: https://www.rabbitmq.com/amqp-0-9-1-protocol
    """
    head = stream.read(7)
    if len(head) < 7:
        raise ConnectionError("the broker closed the connection")
    if head[:4] == b"AMQP":
        raise ConnectionError("the broker speaks another version of AMQP")
    size = struct.unpack(">BHI", head)[2]
    if size > LONGEST_FRAME:
        raise ConnectionError("what answers there does not speak AMQP")
    payload: bytes = stream.read(size + 1)[:-1]
    return payload


def rabbit_send(stream: Any, method: int, arguments: bytes) -> None:  # noqa: ANN401 - as above
    """Write one method of AMQP's class "connection". Runs on the host."""
    payload = struct.pack(">HH", 10, method) + arguments
    stream.write(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")
    stream.flush()


def rabbit_open(stream: Any, access: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Answer the broker's greeting up to an open connection, then close it. Runs on the host."""
    response = f"\x00{access['user']}\x00{access['password']}".encode()
    sized = struct.pack(">I", len(response)) + response
    rabbit_send(stream, 11, struct.pack(">I", 0) + b"\x05PLAIN" + sized + b"\x05en_US")
    try:
        tune = rabbit_frame(stream)
    except ConnectionError:
        # A client that names no capabilities is refused by closing the connection:
        # https://www.rabbitmq.com/docs/auth-notification
        return {
            "refused": "the broker refuses the services' user and password",
            "user": access["user"],
            "vhost": access["vhost"],
        }
    rabbit_send(stream, 31, tune[4:12])
    vhost = access["vhost"].encode()
    rabbit_send(stream, 40, bytes([len(vhost)]) + vhost + b"\x00\x00")
    opened = rabbit_frame(stream)
    if opened[:4] != struct.pack(">HH", 10, 41):
        why = opened[7:].split(b"\x00")[0].decode(errors="replace")
        return {
            "refused": f"the broker refuses the virtual host: {why}",
            "user": access["user"],
            "vhost": access["vhost"],
        }
    rabbit_send(stream, 50, struct.pack(">HBHH", 200, 0, 0, 0))
    return {"login": "done"}


def rabbit_login(access: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
    """Open an AMQP connection as a service would and close it. Runs on the host.

    Without ``access`` only the broker's greeting is awaited.
    """
    host, port = (access["host"], access["port"]) if access else ("127.0.0.1", 5672)
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            connection = plain
            if access and access["tls"]:
                context = ssl._create_unverified_context()  # noqa: S323 - to itself
                connection = context.wrap_socket(plain)
            stream = connection.makefile("rwb")
            stream.write(b"AMQP\x00\x00\x09\x01")
            stream.flush()
            if rabbit_frame(stream)[:4] != struct.pack(">HH", 10, 10):
                return {"failed": f"port {port} does not greet as a broker does"}
            if access is None:
                return {"login": "not tried: no transport_url found on this host"}
            return rabbit_open(stream, access)
    except OSError as error:
        return {"failed": f"{host}:{port}: {error}"}


def rabbit_knows(user: str) -> bool | None:
    """Return whether the broker has a user, None where it does not say. Runs on the host."""
    command = ["rabbitmqctl", "-q", "-t", "7", "--formatter", "json", "list_users"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=8, check=False
        )
        return user in [one["user"] for one in json.loads(done.stdout.decode())]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return None


def rabbit_management(access: dict[str, Json] | None, path: str) -> Json:
    """Return the decoded answer of the management API on this host. Runs on the host."""
    if access is None:
        raise OSError("no credentials")
    pair = base64.b64encode(f"{access['user']}:{access['password']}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:15672/api/{path}")
    request.add_header("Authorization", f"Basic {pair}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=5) as answer:
        said = answer.read(LONGEST_ANSWER + 1)
    if len(said) > LONGEST_ANSWER:
        raise OSError("the answer of the management API has no end")
    return json.loads(said.decode())
