"""One query over MariaDB's own protocol, by its socket: no client program is started for it.

Runs on the host, as root: a new connection each time, as the services make them.
https://mariadb.com/docs/server/reference/clientserver-protocol
"""

import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108
BOUND = 1.4
# CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH, CLIENT_LONG_PASSWORD
CAPABLE = 0x0200 | 0x8000 | 0x80000 | 1
OTHER_METHOD = 0xFE
ERROR = 0xFF


def query_pulse(_state: dict[str, Any]) -> str:
    """Ask the server for one row. Raises OSError, with its words where it refuses."""
    path = next((one for one in SOCKETS if Path(one).exists()), None)
    if path is None:
        return query_by_client()
    started = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(BOUND)
        connection.connect(path)
        stream = connection.makefile("rwb")
        sql_payload(sql_packet(stream))
        hello = struct.pack("<IIB23x", CAPABLE, 1 << 24, 45) + b"root\0" + b"\0"
        answer = sql_send(stream, 1, hello + b"unix_socket\0")
        while answer[0] == OTHER_METHOD:  # the kernel identifies us: there is nothing to send
            answer = sql_send(stream, answer[-1], b"")
        sql_send(stream, 0, b"\x03SELECT 1")
        for _ in range(4):  # the column, its end, the row, its end
            sql_payload(sql_packet(stream))
        stream.write(sql_framed(0, b"\x01"))
        stream.flush()
    return f"answers a query in {(time.monotonic() - started) * 1000:.0f} ms"


def sql_framed(number: int, payload: bytes) -> bytes:
    """Return a packet: its length, its number, what it holds."""
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def sql_packet(stream: Any) -> tuple[int, bytes]:  # noqa: ANN401 - a socket's file
    """Read one packet and return its number and what it holds."""
    head = stream.read(4)
    if len(head) < 4:
        raise ConnectionError("the server closed the connection")
    return head[3], stream.read(int.from_bytes(head[:3], "little"))


def sql_payload(packet: tuple[int, bytes]) -> bytes:
    """Return what a packet holds; the server's refusal is raised, in its words."""
    payload = packet[1]
    if payload[:1] == bytes([ERROR]):
        raise ConnectionError(payload[9:].decode(errors="replace")[:200] or "an error")
    return payload


def sql_send(stream: Any, number: int, payload: bytes) -> bytes:  # noqa: ANN401 - as above
    """Send a packet; return the answer, followed by the number that the next packet has."""
    stream.write(sql_framed(number, payload))
    stream.flush()
    given, answer = sql_packet(stream)
    return sql_payload((given, answer)) + bytes([given + 1])


def query_by_client() -> str:
    """Ask by the client program, which knows where else the server may listen."""
    client = shutil.which("mariadb") or shutil.which("mysql")
    if client is None:
        raise OSError("the server has no socket here, and there is no client program")
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        [client, "--batch", "--skip-column-names", "--connect-timeout=1", "-e", "SELECT 1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=BOUND,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-200:] or "no answer")
    return "answers a query"
