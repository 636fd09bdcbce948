"""HTTP requests that end at a deadline, however slowly the server sends.

The timeout of requests and urllib3 is between two bytes: a server that sends one byte every few
seconds keeps a caller forever.
https://requests.readthedocs.io/en/latest/user/advanced/#timeouts
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse


class Deadline:
    """Ends the request of one thread: at the time its connection's socket is shut down."""

    def __init__(self) -> None:
        self.passed = False
        self._connection: HTTPConnection | None = None
        self._lock = threading.Lock()

    def watch(self, connection: HTTPConnection) -> None:
        """Make ``connection`` the one that the deadline ends; at once where it has passed."""
        with self._lock:
            self._connection = connection
            if self.passed:
                self._shut()

    def end(self) -> None:
        """Say that the time has come."""
        with self._lock:
            self.passed = True
            self._shut()

    def _shut(self) -> None:
        sock = self._connection.sock if self._connection else None
        if sock is not None:
            # The plain socket's method: that of ssl would pull the TLS state away from under the
            # thread that is reading. Shut down, its read ends, whereas close() would not wake it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


_of_thread = threading.local()


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Bound what this thread requests within the block; afterwards ``passed`` says if it did."""
    ends = Deadline()
    timer = threading.Timer(seconds, ends.end)
    timer.daemon = True
    _of_thread.deadline = ends
    timer.start()
    try:
        yield ends
    finally:
        timer.cancel()
        _of_thread.deadline = None


def _watch(connection: HTTPConnection) -> None:
    ends: Deadline | None = getattr(_of_thread, "deadline", None)
    if ends is not None:
        ends.watch(connection)


class _Plain(HTTPConnection):
    def putrequest(
        self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False
    ) -> None:
        _watch(self)  # from the first byte sent: an upload can hang too
        super().putrequest(method, url, skip_host, skip_accept_encoding)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        _watch(self)
        return super().getresponse()


class _Tls(HTTPSConnection):
    def putrequest(
        self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False
    ) -> None:
        _watch(self)
        super().putrequest(method, url, skip_host, skip_accept_encoding)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        _watch(self)
        return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class DeadlineAdapter(HTTPAdapter):
    """The adapter of requests over connections that obey the thread's deadline."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        """Make the pools of our connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - handed on
        """Make the pools of our connections for a proxy too."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
        return manager
