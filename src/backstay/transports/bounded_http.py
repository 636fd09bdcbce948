"""HTTP by requests with bounds: in time, in size, and in where a redirect may lead.

requests itself reads a body of any size, follows redirects anywhere, and its timeout is between two
bytes. Here a request ends at its thread's deadline, an answer is dropped where it passes
``limits.BODY`` (unpacked) or ``limits.HEADERS`` beside it, and nothing is sent to another server
than the one that was named: what is sent often holds a token or a password.
https://requests.readthedocs.io/en/latest/user/advanced/
"""

import http.client
import io
import socket
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.deadline import watch
from backstay.transports.urls import without_secrets

E = TypeVar("E", bound=BaseException)

_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}


class AnswerTooLong(requests.RequestException):
    """An answer was dropped because it is too long."""

    def __init__(self) -> None:
        super().__init__(f"its answer is longer than {size(limits.BODY)}")


class LedElsewhere(requests.RequestException):
    """A server wants that another one is asked; ``place`` is which, without secrets."""

    def __init__(self, to: str) -> None:
        self.place = without_secrets(to)
        super().__init__(f"it redirects to {self.place}, which was not asked")


class BoundedAdapter(HTTPAdapter):
    """Sends requests with the bounds of this module.

    ``origin`` is the URL of the only server that may be asked, None where any may;
    ``assert_fingerprint`` that of the only certificate (SHA-256) that it may have. ``proxies`` says
    which proxies a URL is asked through, None for those of this process. Raises AnswerTooLong and
    LedElsewhere beside what requests raises.
    """

    def __init__(
        self,
        *,
        origin: str | None = None,
        assert_fingerprint: str = "",
        proxies: Callable[[str], dict[str, str]] | None = None,
        **pool: Any,  # noqa: ANN401 - handed on
    ) -> None:
        self._origin = origin
        self._fingerprint = assert_fingerprint
        self._proxies = proxies
        super().__init__(**pool)

    def send(  # noqa: D102, PLR0917 - as requests has it
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ANN401 - as requests has it
        verify: bool | str = True,
        cert: Any = None,  # noqa: ANN401 - as requests has it
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        url = str(request.url)
        if self._origin is not None and not may_lead(self._origin, url):
            raise LedElsewhere(url)
        if self._proxies is not None:
            proxies = self._proxies(url)
        try:
            response = super().send(request, True, timeout, verify, cert, proxies)
            _check_redirect(response, url)
            # As requests keeps it: whoever asks for the content gets this.
            response._content = _body(response)
            response._content_consumed = True
        except _PassedBound:
            raise AnswerTooLong from None
        return response

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        """Make the pools of our connections."""
        if self._fingerprint:
            options["assert_fingerprint"] = self._fingerprint
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - handed on
        """Make the pools of our connections for a proxy too."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def session(*, origin: str | None = None, **pool: Any) -> requests.Session:  # noqa: ANN401 - handed on
    """Return a session whose requests have the bounds of this module; ``pool`` as the adapter's."""
    made = requests.Session()
    bound_session(made, origin=origin, **pool)
    return made


def bound_session(made: requests.Session, *, origin: str | None = None, **pool: Any) -> None:  # noqa: ANN401
    """Give the bounds of this module to a session that another library has made."""
    adapter = BoundedAdapter(origin=origin, **pool)
    made.mount("http://", adapter)
    made.mount("https://", adapter)


def may_lead(asked: str, to: str) -> bool:
    """Return whether what was sent to one URL may be sent to another: it is the same server.

    From http to https of the same host it is, whatever the port; never back.
    """
    try:
        here, there = urlsplit(asked), urlsplit(urljoin(asked, to))
        if not here.hostname or here.hostname != there.hostname:
            return False
        if (here.scheme, there.scheme) == ("http", "https"):
            return True
        return here.scheme == there.scheme and _port(here) == _port(there)
    except ValueError:  # no URL at all
        return False


def led_elsewhere(error: BaseException) -> LedElsewhere | None:
    """Return the redirect that an error of another library comes from, None where none does."""
    return among(error, LedElsewhere)


def too_long(error: BaseException) -> AnswerTooLong | None:
    """Return the passed bound that an error of another library comes from, None where none does."""
    return among(error, AnswerTooLong)


def among(error: BaseException | None, kind: type[E]) -> E | None:
    """Return the error of this kind that an error comes from, None where none is among them."""
    for _ in range(10):
        if error is None or isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)


def _check_redirect(response: requests.Response, asked: str) -> None:
    location = response.headers.get("Location")
    if not location or not 300 <= response.status_code < 400:
        return
    if not may_lead(asked, location):
        response.close()
        raise LedElsewhere(urljoin(asked, location))
    # keystoneauth1 takes it as it stands, and it may be a path alone.
    response.headers["Location"] = urljoin(asked, location)


def _body(response: requests.Response) -> bytes:
    """Read the body, unpacked. Raises _PassedBound."""
    body = bytearray()
    try:
        for piece in response.iter_content(_PIECE):
            body += piece
            if len(body) > limits.BODY:
                raise _PassedBound
    except BaseException:
        response.close()
        raise
    return bytes(body)


class _PassedBound(Exception):
    """Of no kind that urllib3 or requests turns into another."""


class _Counted(io.RawIOBase):
    """What a socket gives, counted: also the lines between chunks, which have no bound else."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._left = limits.BODY + limits.HEADERS

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._source.fileno()

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - as io has it
        count = self._source.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise _PassedBound
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose bytes are counted."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Counted(self.fp.detach()))


class _Watched:
    """The connections of urllib3, which end at the thread's deadline."""

    response_class = _Answer
    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        watch(sock)  # before the TLS handshake, which can hang too
        return sock

    def putrequest(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        watch(self.sock)  # of one that was kept open: for this thread, from the first byte sent
        super().putrequest(*arguments, **options)  # type: ignore[misc]

    def getresponse(self) -> HTTPResponse:
        watch(self.sock)
        answer: HTTPResponse = super().getresponse()  # type: ignore[misc]
        return answer


class _Plain(_Watched, HTTPConnection):  # type: ignore[misc]
    pass


class _Tls(_Watched, HTTPSConnection):  # type: ignore[misc]
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


_POOLS = {"http": _PlainPool, "https": _TlsPool}
