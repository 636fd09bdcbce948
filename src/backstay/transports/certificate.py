"""The certificate that a TLS server presents: until when it is valid, and whether it is trusted."""

import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backstay.commands import command
from backstay.errors import ApiUnreachable
from backstay.transports.deadline import watch
from backstay.transports.fingerprint import fingerprint_of
from backstay.transports.tls import trusting


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """``expires`` is aware, in UTC; ``distrust`` is why it is not trusted, or empty."""

    expires: datetime
    distrust: str


def presented(host: str, port: int, *, bound: float, ca: Path | None = None) -> Certificate:
    """Return the certificate of a TLS server, trusted or not.

    ``ca`` is a file of certificates to check it against, None the system's. ``bound`` is for
    each of at most two connections, in seconds. Raises ApiUnreachable.
    """
    try:
        return Certificate(expires=_expiry(trusting(ca), host, port, bound), distrust="")
    except ssl.SSLCertVerificationError as error:
        distrust = error.verify_message
    except OSError as error:
        raise _unreachable(host, port, error) from error
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE  # only to read the date; nothing is sent
    try:
        return Certificate(expires=_expiry(careless, host, port, bound), distrust=distrust)
    except OSError as error:
        raise _unreachable(host, port, error) from error


def presented_fingerprint(host: str, port: int, *, bound: float) -> str:
    """Return the SHA-256 fingerprint of the certificate that a TLS server presents, trusted or not.

    It is for a person to compare: nothing is sent. Raises ApiUnreachable.
    """
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    try:
        return fingerprint_of(_certificate(careless, host, port, bound))
    except OSError as error:
        raise _unreachable(host, port, error) from error


def _expiry(context: ssl.SSLContext, host: str, port: int, bound: float) -> datetime:
    from cryptography import x509  # noqa: PLC0415 - takes its time, and few clouds here need it

    certificate = _certificate(context, host, port, bound)  # what ssl raises is a ValueError, too
    try:
        found = x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise OSError(f"a certificate that cannot be read: {error}") from error
    return found.not_valid_after_utc


def _certificate(context: ssl.SSLContext, host: str, port: int, bound: float) -> bytes:
    with socket.create_connection((host, port), timeout=bound) as plain:
        watch(plain)  # a handshake may come byte by byte
        with context.wrap_socket(plain, server_hostname=host) as connection:
            certificate = connection.getpeercert(binary_form=True)
    if certificate is None:
        raise OSError("no certificate was presented")
    return certificate


def _unreachable(host: str, port: int, error: OSError) -> ApiUnreachable:
    return ApiUnreachable(
        f"reading the certificate of {host}:{port}",
        came_back=str(error) or type(error).__name__,
        remedy=f"try by hand: {command('openssl', 's_client', '-connect', f'{host}:{port}')}",
    )
