"""A keystone and a glance in this process, real HTTP servers that can be told to misbehave."""

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "the-password"
Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; the answers below write to it."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), self.body))
        path = self.path.partition("?")[0]
        answer = self.server.answers.get(f"{self.command} {path}") or self.server.answers.get(path)
        (answer or says(404, {"error": {"message": "no such path"}}))(self)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Its ``answers`` are by path, or by method and path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.scheme = "http"
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.closing = threading.Event()
        self.answers: dict[str, Answer] = {
            "/v3/auth/tokens": gives_a_token,
            "/v2/images": says(200, {"images": []}),
        }

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def count(self, method: str, path: str) -> int:
        return sum(1 for seen in self.seen if seen[:2] == (method, path))

    def handle_error(self, request, client_address):
        """Clients that hang up are the point of these tests."""


def says(
    status: int, document: object = None, *, text: str | None = None, **headers: str
) -> Answer:
    """Answer with that status and JSON document, or text."""

    def answer(request: Request) -> None:
        body = text.encode() if text is not None else json.dumps(document).encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    return answer


def hangs(request: Request) -> None:
    """Never answer."""
    request.server.closing.wait(60)
    request.close_connection = True


def trickles(request: Request) -> None:
    """Send a byte every 50 ms forever: no read timeout ever comes."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not request.server.closing.wait(0.05):
        request.wfile.write(b" ")
    request.close_connection = True


def trickles_headers(request: Request) -> None:
    """Send a header line every 50 ms forever."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not request.server.closing.wait(0.05):
        request.wfile.write(b"X-")
    request.close_connection = True


def hangs_up(request: Request) -> None:
    """Break off in the middle of the body."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    request.close_connection = True


def closes(request: Request) -> None:
    """Close the connection without a byte of an answer, as a server does with an idle one."""
    request.close_connection = True


def gives_a_token(request: Request) -> None:
    """Be keystone: a token with a catalogue for the right password, 401 otherwise."""
    identity = json.loads(request.body)["auth"]["identity"]
    given = identity.get("password", {}).get("user", {}).get("password")
    if given != PASSWORD:
        says(
            401,
            {
                "error": {
                    "code": 401,
                    "message": "The request you have made requires authentication.",
                    "title": "Unauthorized",
                }
            },
        )(request)
        return
    document = token(catalogue(request.server.url))
    says(201, document, X_Subject_Token=f"token-{len(request.server.seen)}")(request)


def token(services: list[dict[str, Any]]) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": "u1", "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p1", "name": "ops", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r1", "name": "admin"}],
            "issued_at": f"{now:%Y-%m-%dT%H:%M:%S}.000000Z",
            "expires_at": f"{now + datetime.timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.000000Z",
            "catalog": services,
        }
    }


def catalogue(url: str) -> list[dict[str, Any]]:
    def service(kind: str, path: str) -> dict[str, Any]:
        return {
            "type": kind,
            "name": kind,
            "id": kind,
            "endpoints": [
                {
                    "id": f"{kind}-{region}",
                    "interface": "public",
                    "region": region,
                    "region_id": region,
                    "url": url + path,
                }
                for region in ("RegionOne", "RegionTwo")
            ],
        }

    return [
        service("identity", "/v3"),
        service("image", ""),
        service("volumev2", "/old/p1"),
        service("volumev3", "/volume/v3/p1"),
        service("object-store", "/v1/AUTH_p1"),
    ]


@contextmanager
def api(certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """A server on loopback, with TLS where a certificate and its key are given."""
    server = Server()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join(5)
        server.server_close()


def certificate(folder: Path, *, days: int) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 that ends in ``days``; give it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"
