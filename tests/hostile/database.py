"""A host's MariaDB that was taken over, as a server on a unix socket that answers what it likes.

It speaks as much of the protocol as ``mariadb`` and ``mariadb-binlog`` need to receive from it:
https://mariadb.com/kb/en/clientserver-protocol/. ``with hostile_database(socket, log=...)`` runs it
on a thread of its own.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "backup" / "data" / "mysql-bin.000002"
_OK = b"\0\0\0\2\0\0\0"
_EOF = b"\xfe\0\0\2\0"
_QUIT, _QUERY, _REGISTER, _DUMP = 1, 3, 21, 18
_HEADER = struct.Struct("<IBIIIH")
_ROTATE, _ARTIFICIAL = 4, 0x20


@dataclass
class HostileDatabase:
    """What it was asked.

    Attributes:
        queries: The queries, in order.
        dumps: How many times its binary log was asked for.
        sent: Set when all of the log's events were sent.

    """

    queries: list[str] = field(default_factory=list)
    dumps: int = 0
    sent: threading.Event = field(default_factory=threading.Event)


def rotate(name: bytes) -> bytes:
    """Return the event that names the file in which what follows belongs."""
    body = struct.pack("<Q", 4) + name
    length = _HEADER.size + len(body)
    return _HEADER.pack(0, _ROTATE, 1, length, 0, _ARTIFICIAL) + body


def event(kind: int, body: bytes) -> bytes:
    """Return an event of any kind, with a checksum that nobody has computed."""
    length = _HEADER.size + len(body) + 4
    return _HEADER.pack(1, kind, 1, length, length, 0) + body + b"\0\0\0\0"


def format_description() -> bytes:
    """Return a real server's first event, after which a file is made."""
    data = RECORDED.read_bytes()[4:]
    return data[: _HEADER.unpack_from(data)[3]]


@contextmanager
def hostile_database(
    path: Path,
    *,
    log: Sequence[bytes] = (),
    rows: Sequence[Sequence[bytes]] = (),
    wants_file: bytes = b"",
) -> Iterator[HostileDatabase]:
    """Serve ``log`` as events and ``rows`` as the answer to SHOW BINARY LOGS.

    With ``wants_file`` every query is answered by the wish to read that file of the client's.
    """
    server = HostileDatabase()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed
                while True:
                    client = listening.accept()[0]
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        def serve(client: socket.socket) -> None:
            with contextlib.suppress(OSError, struct.error), client:
                _Session(client, server, log, rows, wants_file).run()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server
        finally:
            listening.shutdown(socket.SHUT_RDWR)


class _Session:
    def __init__(
        self,
        client: socket.socket,
        server: HostileDatabase,
        log: Sequence[bytes],
        rows: Sequence[Sequence[bytes]],
        wants_file: bytes,
    ) -> None:
        self._client, self._server = client, server
        self._log, self._rows, self._wants_file = log, rows, wants_file
        self._number = 0

    def run(self) -> None:
        self._send(
            b"\x0a5.5.5-10.11.6-MariaDB\0"
            + struct.pack("<I8sxHBHHB10x", 1, b"a" * 8, 0xF7DF, 45, 2, 0x0008, 21)
            + b"b" * 12
            + b"\0mysql_native_password\0"
        )
        self._receive()
        self._send(_OK)
        while True:
            command = self._receive()
            if not command or command[0] == _QUIT:
                return
            if command[0] == _QUERY:
                self._answer(command[1:].decode(errors="replace"))
            elif command[0] == _DUMP:
                self._server.dumps += 1
                for one in self._log:
                    self._send(b"\0" + one)
                self._server.sent.set()
            else:
                self._send(_OK)

    def _answer(self, query: str) -> None:
        self._server.queries.append(query)
        if self._wants_file:
            self._send(b"\xfb" + self._wants_file)
        elif "SHOW BINARY LOGS" in query.upper():
            self._table(self._rows)
        elif query.upper().startswith("SELECT '"):
            self._table([[query.split("'")[1].encode()]])
        elif query.upper().startswith("SELECT"):
            self._table([[b"10.11.6-MariaDB"]])
        else:
            self._send(_OK)

    def _table(self, rows: Sequence[Sequence[bytes]]) -> None:
        columns = max((len(row) for row in rows), default=1)
        self._send(bytes([columns]))
        for _ in range(columns):
            texts = b"".join(_text(one) for one in (b"def", b"", b"", b"", b"c", b"c"))
            self._send(texts + b"\x0c" + struct.pack("<HIBHBH", 45, 1024, 253, 0, 0, 0))
        self._send(_EOF)
        for row in rows:
            self._send(b"".join(map(_text, row)))
        self._send(_EOF)

    def _send(self, payload: bytes) -> None:
        head = struct.pack("<I", len(payload))[:3] + bytes([self._number])
        self._client.sendall(head + payload)
        self._number = (self._number + 1) % 256

    def _receive(self) -> bytes:
        head = self._exactly(4)
        self._number = (head[3] + 1) % 256
        return self._exactly(int.from_bytes(head[:3], "little"))

    def _exactly(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            data = self._client.recv(length - len(found))
            if not data:
                raise ConnectionResetError("it is gone")
            found += data
        return bytes(found)


def _text(text: bytes) -> bytes:
    if len(text) < 251:
        return bytes([len(text)]) + text
    return b"\xfd" + struct.pack("<I", len(text))[:3] + text
