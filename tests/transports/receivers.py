"""Real receivers on loopback, which can be broken: a mail server, and a web server."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "backstay", "Geheim-4711"


class Mailbox:
    """A mail server's: what it got, and what it says no with. ``delay`` is before it says yes."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.refuses = ""
        self.refuses_content: Callable[[EmailMessage], bool] = lambda _: False
        self.refused_recipients: tuple[str, ...] = ()
        self.delay = 0.0
        self.arrived = threading.Event()

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.got]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused_recipients:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refuses:
            return self.refuses
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        if self.refuses_content(mail):
            return "554 5.7.1 rejected for its content"
        self.got.append(mail)
        self.arrived.set()
        if self.delay:
            time.sleep(self.delay)  # noqa: ASYNC251 - the server's own thread, and it is to hang
        return "250 taken"


@contextmanager
def mail_server(
    mailbox: Mailbox, *, pem: Path | None = None, port: int = 0
) -> Iterator[Callable[[], int]]:
    """Run a mail server; give its port. With ``pem`` it wants STARTTLS and a login."""

    def login(_: Any, __: Any, ___: Any, mechanism: str, given: Any) -> AuthResult:
        assert mechanism in {"LOGIN", "PLAIN"}
        assert isinstance(given, LoginPassword)
        right = given == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    secure: dict[str, Any] = {}
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        secure = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": login,
        }
    server = Controller(mailbox, hostname="127.0.0.1", port=port or _free_port(), **secure)
    server.start()
    try:
        yield lambda: server.port
    finally:
        server.stop(no_assert=True)


class Post:
    """A request as it was received."""

    def __init__(self, path: str, headers: dict[str, str], document: Any) -> None:
        self.path, self.headers, self.document = path, headers, document


class Inbox:
    """A web server's: what was posted to it. It answers with ``status`` after ``delay``.

    What ``refuses`` says of a document is not taken: status 422.
    """

    def __init__(self) -> None:
        self.got: list[Post] = []
        self.status = 200
        self.refuses: Callable[[Any], bool] = lambda _: False
        self.delay = 0.0
        self.arrived = threading.Event()


@contextmanager
def web_server(inbox: Inbox, *, pem: Path | None = None, port: int = 0) -> Iterator[str]:
    """Run a web server; give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            document = json.loads(body)
            if inbox.refuses(document):
                self.send_response(422)
                self.end_headers()
                return
            inbox.got.append(Post(self.path, dict(self.headers), document))
            inbox.arrived.set()
            time.sleep(inbox.delay)
            self.send_response(inbox.status)
            if inbox.status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if pem else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def certificates(folder: Path, *, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make an authority and a server's certificate by it; return the two files (ca, server)."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a site's own authority")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])

    def built(subject: x509.Name, of: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    ca = built(authority_name, authority_key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    server = built(x509.Name([]), key).add_extension(names, critical=True)
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = folder / "ca.pem", folder / "server.pem"
    files[0].write_bytes(ca.sign(authority_key, hashes.SHA256()).public_bytes(encoding))
    files[1].write_bytes(
        private + server.sign(authority_key, hashes.SHA256()).public_bytes(encoding)
    )
    return files


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
