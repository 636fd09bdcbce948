"""An API, BMC, hook or webhook that was taken over, as a real server on loopback, in one way each.

``with hostile_server(endless_body) as server:`` answers every request so; ``server.answers`` may
give another answer by path, so that a token or a system can be had before. It speaks HTTP by hand:
no library would send these answers.
"""

import contextlib
import gzip
import json
import os
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

PIECE = 1 << 16
OK = b"HTTP/1.1 200 OK\r\n"


class Request:
    """One request as it came, and the connection to answer it on."""

    def __init__(
        self, server: "HostileServer", connection: socket.socket, head: bytes, body: bytes
    ) -> None:
        self.server, self.connection, self.body = server, connection, body
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target = [*first.split(" "), "", ""][:2]
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def is_last(self) -> bool:
        """Whether the connection is closed after it, as the client wants."""
        return "keep" not in self.headers.get("connection", "keep").lower()

    def send(self, data: bytes) -> None:
        """Send bytes as they are. Raises OSError when the other side is gone."""
        self.connection.sendall(data)
        self.server.sent += len(data)

    def forever(self, piece: bytes, pause: float = 0.0) -> None:
        """Send a piece again and again until the other side is gone or the server is closed."""
        while not self.server.closing.wait(pause) if pause else not self.server.closing.is_set():
            self.send(piece)


Behaviour = Callable[[Request], None]


class HostileServer:
    """``seen`` is what came; ``sent`` how many bytes were taken; ``answers`` are by path.

    ``dropped`` is set when a behaviour has ended because the other side hung up.
    """

    def __init__(self, behaviour: Behaviour, certificate: tuple[Path, Path] | None) -> None:
        self.behaviour = behaviour
        self.answers: dict[str, Behaviour] = {}
        self.seen: list[Request] = []
        self.sent = 0
        self.closing, self.dropped = threading.Event(), threading.Event()
        self.scheme = "https" if certificate else "http"
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its URL without a path."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def secrets_seen(self) -> list[str]:
        """Return what came that is a credential: tokens, logins, cookies."""
        names = ("authorization", "x-auth-token", "x-subject-token", "cookie")
        return [
            request.headers[name]
            for request in self.seen
            for name in names
            if name in request.headers
        ]

    def serve(self) -> None:
        """Accept connections until it is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """End, with all connections."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _converse(self, connection: socket.socket) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            with connection, connection.makefile("rb") as incoming:
                while request := self._request(connection, incoming):
                    self.seen.append(request)
                    self.answers.get(request.path, self.behaviour)(request)
                    if request.is_last:
                        return
        except (OSError, ValueError):
            self.dropped.set()

    def _request(self, connection: socket.socket, incoming: Any) -> Request | None:
        lines = []
        while (line := incoming.readline(PIECE)) not in {b"\r\n", b""}:
            lines.append(line)
        if not lines:
            return None
        request = Request(self, connection, b"".join(lines).rstrip(b"\r\n"), b"")
        request.body = incoming.read(int(request.headers.get("content-length", 0)))
        return request


@contextmanager
def hostile_server(
    behaviour: Behaviour, certificate: tuple[Path, Path] | None = None
) -> Iterator[HostileServer]:
    """Run a server on a thread, with TLS where a certificate and its key are given."""
    server = HostileServer(behaviour, certificate)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)


# Behaviours.


def says(document: Any, status: int = 200, **headers: str) -> Behaviour:
    """Answer well with JSON; ``headers`` with ``_`` for ``-``."""
    return sends(json.dumps(document).encode(), status, Content_Type="application/json", **headers)


def sends(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    """Answer with a body as it is."""

    def answer(request: Request) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if request.is_last:  # else the client may send its next request into the close
            lines.append("Connection: close")
        head = "\r\n".join([f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *lines])
        request.send(head.encode() + b"\r\n\r\n" + (b"" if request.method == "HEAD" else body))

    return answer


def endless_body(request: Request) -> None:
    """Send a body without a length and without end."""
    request.send(OK + b"Content-Type: application/json\r\nConnection: close\r\n\r\n[")
    request.forever(b'"x",' * (PIECE // 4))


def endless_error_page(request: Request) -> None:
    """Answer 500 with a page without end."""
    request.send(b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>")
    request.forever(b"<p>oops</p>" * (PIECE // 11))


def endless_chunks(request: Request) -> None:
    """Send chunks without end."""
    request.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    request.forever(b"10000\r\n" + b"x" * PIECE + b"\r\n")


def endless_chunk_size(request: Request) -> None:
    """Send the line with a chunk's size without end."""
    request.send(OK + b"Transfer-Encoding: chunked\r\n\r\n1;")
    request.forever(b"x" * PIECE)


def endless_trailers(request: Request) -> None:
    """Send header fields after the last chunk without end."""
    request.send(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    request.forever(b"X-Trailer: x\r\n" * (PIECE // 14))


def endless_headers(request: Request) -> None:
    """Send header fields without end."""
    request.send(OK)
    request.forever(b"X-More: " + b"x" * 1000 + b"\r\n")


def endless_header_line(request: Request) -> None:
    """Send one header line without end."""
    request.send(OK + b"X-Long: ")
    request.forever(b"x" * PIECE)


def endless_continues(request: Request) -> None:
    """Say again and again that the request may go on."""
    request.forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def slow_drip(request: Request) -> None:
    """Send a byte of the body every 50 ms: no timeout between two bytes ever comes."""
    request.send(OK + b"Content-Length: 100000\r\n\r\n")
    request.forever(b" ", 0.05)


def slow_headers(request: Request) -> None:
    """Send a byte of a header every 50 ms."""
    request.send(OK + b"X-")
    request.forever(b"y", 0.05)


def hangs(request: Request) -> None:
    """Never answer."""
    request.connection.settimeout(None)
    if not request.connection.recv(1):
        raise ConnectionResetError


def closes(request: Request) -> None:
    """Hang up without a byte."""
    request.connection.shutdown(socket.SHUT_RDWR)


def closes_in_the_middle(request: Request) -> None:
    """Hang up within the body."""
    request.send(OK + b"Content-Length: 100000\r\n\r\n{")
    request.connection.shutdown(socket.SHUT_RDWR)


def announces_too_much(request: Request) -> None:
    """Announce a body of an exabyte, and send a few bytes of it."""
    request.send(OK + b"Content-Length: 1152921504606846976\r\n\r\n{}")
    request.connection.shutdown(socket.SHUT_WR)


def announces_too_little(request: Request) -> None:
    """Send more than was announced: the rest looks like another answer."""
    request.send(OK + b"Content-Length: 2\r\n\r\n{}" + OK + b"Content-Length: 4\r\n\r\nevil")


def announces_nonsense(request: Request) -> None:
    """Give two lengths, and neither is a number."""
    request.send(OK + b"Content-Length: -1\r\nContent-Length: 1e9\r\n\r\n{}")
    request.connection.shutdown(socket.SHUT_WR)


@cache
def _zeros(wrapped: bool) -> bytes:
    """Return a GB of zeros, packed: one MB again and again, without a checksum at the end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if wrapped else 15)
    first, again = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in "12")
    return first + again * 1023


def gzip_bomb(request: Request) -> None:
    """Send 1 MB that is 1 GB when it is unpacked."""
    _packed(request, "gzip", _zeros(wrapped=True))


def deflate_bomb(request: Request) -> None:
    """Do it by the other encoding."""
    _packed(request, "deflate", _zeros(wrapped=False))


def nested_bomb(request: Request) -> None:
    """Pack it twice: 3 kB."""
    _packed(request, "gzip, gzip", gzip.compress(_zeros(wrapped=True), 9))


def _packed(request: Request, encoding: str, body: bytes) -> None:
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    request.send(OK + b"Content-Type: application/json\r\n" + head.encode() + body)


def broken_gzip(request: Request) -> None:
    """Say that it is packed, and send what is not."""
    _packed(request, "gzip", os.urandom(1000))


def garbage(request: Request) -> None:
    """Send random bytes as JSON."""
    sends(os.urandom(PIECE), Content_Type="application/json")(request)


def garbage_protocol(request: Request) -> None:
    """Send random bytes instead of HTTP."""
    request.send(os.urandom(PIECE))
    request.connection.shutdown(socket.SHUT_RDWR)


def deep_json(request: Request) -> None:
    """Send JSON that is nested a hundred thousand times."""
    sends(b"[" * 100_000 + b"]" * 100_000, Content_Type="application/json")(request)


def huge_number(request: Request) -> None:
    """Send a number of a million digits."""
    sends(b"9" * 1_000_000, Content_Type="application/json")(request)


def html(request: Request) -> None:
    """Be a page for people, as of a proxy or a login."""
    sends(b"<html><title>Welcome</title><body>Log in</body></html>", Content_Type="text/html")(
        request
    )


def html_5xx(request: Request) -> None:
    """Answer 502 with a page, which holds what a terminal obeys."""
    page = b"<html><title>\x1b]52;c;AAAA\x07 502 Bad Gateway</title></html>"
    sends(page, 502, Content_Type="text/html")(request)


def no_status(request: Request) -> None:
    """Answer with a status that is none."""
    request.send(b"HTTP/1.1 9999999999999999999999 OK\r\nContent-Length: 0\r\n\r\n")


def redirects(to: str, status: int = 302) -> Behaviour:
    """Send every request to another URL; its path is appended where ``to`` ends with ``*``."""

    def answer(request: Request) -> None:
        location = to[:-1] + request.target if to.endswith("*") else to
        sends(b"", status, Location=location)(request)

    return answer


def redirects_to_itself(request: Request) -> None:
    """Go round in circles."""
    redirects(request.server.url + request.target)(request)


ENDLESS: tuple[Behaviour, ...] = (
    endless_body,
    endless_error_page,
    endless_chunks,
    endless_chunk_size,
    endless_trailers,
    endless_headers,
    endless_header_line,
    gzip_bomb,
    deflate_bomb,
    nested_bomb,
    endless_continues,
)
"""Those that take memory where nobody counts."""
SLOW: tuple[Behaviour, ...] = (slow_drip, slow_headers, hangs)
"""Those that take time where nobody looks at the clock."""
WRONG: tuple[Behaviour, ...] = (
    closes,
    closes_in_the_middle,
    announces_too_much,
    broken_gzip,
    garbage,
    garbage_protocol,
    deep_json,
    html,
    html_5xx,
    no_status,
    redirects_to_itself,
)
"""Those that bring no usable JSON."""
