"""What a TLS server's certificate is checked against, and what is presented to it."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """``ca`` is a file of certificates, None the system's; ``insecure`` checks nothing.

    ``certificate`` is this side's own, with its ``key`` where that is a file of its own.
    """

    insecure: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def verify(self) -> bool | str:
        """Return it as ``verify`` of requests."""
        return False if self.insecure else (str(self.ca) if self.ca else True)

    @property
    def cert(self) -> tuple[str, str] | str | None:
        """Return it as ``cert`` of requests."""
        own = str(self.certificate) if self.certificate else None
        return (own, str(self.key)) if own and self.key else own


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Return a context that checks servers' certificates; ``ca`` may be a folder of hashed names.

    Raises OSError.
    """
    if ca is not None and ca.is_dir():
        return ssl.create_default_context(capath=str(ca))
    return ssl.create_default_context(cafile=str(ca) if ca else None)


def context_of(trust: Trust) -> ssl.SSLContext:
    """Return the context for connections. Raises OSError that names the file that is wrong.

    The same one again, until one of the files is another: an authority is replaced while a watch
    runs.
    """
    files = (trust.ca, trust.certificate, trust.key)
    return _context(trust, tuple(_state(file) for file in files if file is not None))


def _state(file: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file, or with the names in a folder; None where it is gone."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=64)
def _context(trust: Trust, states: tuple[object, ...]) -> ssl.SSLContext:
    # ``states`` only tells one context from another.
    context = ssl.create_default_context()
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca:
        context = _naming(trust.ca, lambda: trusting(trust.ca))
    if trust.certificate:
        own, key = trust.certificate, trust.key
        _naming(key or own, lambda: context.load_cert_chain(own, key))
    return context


def _naming(file: Path, load: Callable[[], T]) -> T:
    try:
        return load()
    except OSError as error:  # those of ssl too
        raise OSError(error.errno, f"{file}: {error.strerror or error}") from error
