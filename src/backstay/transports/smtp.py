"""Mail by SMTP: https://datatracker.ietf.org/doc/html/rfc5321."""

import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from backstay.errors import ChannelFailed, MessageRefused
from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.deadline import watch
from backstay.transports.threads import on_thread

T = TypeVar("T")

_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in. ``tls`` is ``starttls``, ``tls`` from the first byte, or ``none``.

    ``ca`` is a file that the certificate is checked against, None the system's authorities. The
    password is in no ``repr``.
    """

    host: str
    port: int
    tls: Literal["starttls", "tls", "none"]
    ca: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail in plain text. ``id`` and ``follows`` (the one before) are without ``<`` and ``>``.

    The same ``id`` in two letters says that they are the same one. ``at`` is Unix time.
    """

    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    id: str
    at: float
    follows: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


async def send_mail(server: MailServer, letter: Letter, *, bound: float) -> Mapping[str, str]:
    """Hand a letter in; return the recipients that were refused, with the reason of each.

    Raises ChannelFailed where no recipient will get it, or where that is not known after ``bound``
    seconds; MessageRefused where that is for its content. A password is sent over an encrypted
    connection only.
    """
    return await _reaching(server, lambda: _hand_in(server, letter, bound), bound)


async def greet(server: MailServer, *, bound: float) -> str:
    """Connect, encrypt and log in as ``send_mail`` does, and send nothing; return the greeting.

    Raises ChannelFailed.
    """

    def meet() -> str:
        with _connected(server, bound) as smtp:
            _log_in(smtp, server)
            code, text = smtp.ehlo()
            return _said(code, text).partition("\n")[0]

    return await _reaching(server, meet, bound)


async def _reaching(server: MailServer, call: Callable[[], T], bound: float) -> T:
    """Return what a call to a server returns; its errors are for the operator."""
    place = f"{server.host}:{server.port}"
    if server.username and server.tls == "none":
        raise _failed(
            place,
            "a password must not go over a connection that is not encrypted; nothing was sent",
            "use `tls: starttls` or `tls: tls`, or take out `username` and `password`",
        )
    try:
        return await on_thread(call, bound)
    except TimeoutError:
        raise _failed(place, f"no answer within {bound:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise _failed(
            place,
            f"its certificate is not trusted: {error.verify_message}",
            "name the authority's file in `ca`, and the server by the name in its certificate",
        ) from None
    except smtplib.SMTPDataError as error:
        kind = MessageRefused if error.smtp_code >= 500 else ChannelFailed
        raise kind(
            f"sending mail by {place}", came_back=_reason(error), remedy="see the server's log"
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        came_back = f"the login was refused ({error.smtp_code})"
        raise _failed(place, came_back, "see `username` and `password`") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise _failed(place, _reason(error), _remedy(error)) from None


def _hand_in(server: MailServer, letter: Letter, bound: float) -> Mapping[str, str]:
    message = _message(letter)
    with _connected(server, bound) as smtp:
        _log_in(smtp, server)
        refused = smtp.send_message(message)
    return {to: _said(code, text) for to, (code, text) in refused.items()}


def _log_in(smtp: smtplib.SMTP, server: MailServer) -> None:
    if server.tls == "starttls":
        smtp.starttls(context=_context(server))
    if server.username:
        smtp.login(server.username, server.password or "")


def _connected(server: MailServer, bound: float) -> AbstractContextManager[smtplib.SMTP]:
    # The name to greet by is given: finding out the full one asks DNS, which may hang.
    name = socket.gethostname()
    if server.tls == "tls":
        return _TlsSmtp(
            server.host, server.port, local_hostname=name, timeout=bound, context=_context(server)
        )
    return _Smtp(server.host, server.port, local_hostname=name, timeout=bound)


class _Bounded(smtplib.SMTP):
    """Ends at the thread's deadline, and after so many bytes of answers."""

    def _get_socket(self, *arguments: Any) -> socket.socket:  # noqa: ANN401 - handed on
        sock: socket.socket = super()._get_socket(*arguments)  # type: ignore[misc]
        watch(sock)
        return sock

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer, which may have lines without end."""
        if self.file is None and self.sock is not None:
            self.file = _Counted(self.sock.makefile("rb"))
        return super().getreply()


class _Smtp(_Bounded):
    pass


class _TlsSmtp(_Bounded, smtplib.SMTP_SSL):
    pass


class _Counted:
    """The lines that a server sends on a connection, up to a bound of all."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - a file of a socket
        self._file, self._left = file, limits.ERRORS

    def readline(self, most: int) -> bytes:
        line: bytes = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise OSError(f"its answers are longer than {size(limits.ERRORS)}")
        return line

    def close(self) -> None:
        self._file.close()


def _context(server: MailServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.ca) if server.ca else None)


def _message(letter: Letter) -> EmailMessage:
    message = EmailMessage()
    message["From"] = letter.sender
    message["To"] = ", ".join(letter.to)
    try:
        _fill(message, letter)
    except (ValueError, LookupError) as error:
        raise MessageRefused(
            f"writing the mail {letter.id}",
            came_back=f"it cannot be encoded ({type(error).__name__})",
            remedy="report this: its text should have been cleaned",
        ) from error
    return message


def _fill(message: EmailMessage, letter: Letter) -> None:
    """Write what is not of cloud.yaml. Raises ValueError or LookupError."""
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.at, UTC))
    message["Message-ID"] = f"<{letter.id}>"
    if letter.follows:
        message["In-Reply-To"] = message["References"] = f"<{letter.follows}>"
    # No "I am on holiday" in answer: https://datatracker.ietf.org/doc/html/rfc3834#section-5
    message["Auto-Submitted"] = "auto-generated"
    for name, value in letter.headers.items():
        message[name] = value
    message.set_content(letter.text)
    message.as_bytes()  # what cannot be encoded raises here


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{to}: {_said(*why)}" for to, why in error.recipients.items())[:_LONGEST]
    if isinstance(error, smtplib.SMTPResponseException):
        return _said(error.smtp_code, error.smtp_error)
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:_LONGEST]


def _said(code: int, text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"[:_LONGEST]


def _remedy(error: Exception) -> str:
    """Return what to do about an error of a server; one that answers is reachable."""
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return (
            "use `tls: tls` where it speaks TLS from the first byte (port 465), and `tls: none` "
            "without `username` where it does not encrypt or takes no login"
        )
    if isinstance(error, ssl.SSLError):
        return "use `tls: starttls` (port 587) where it does not speak TLS from the first byte"
    if isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused):
        return "see `from` and `to`, and the server's log"
    return _REACHABLE


_REACHABLE = "check that the server is reachable, and `server` and `port`"


def _failed(place: str, came_back: str, remedy: str = _REACHABLE) -> ChannelFailed:
    return ChannelFailed(f"sending mail by {place}", came_back=came_back, remedy=remedy)
