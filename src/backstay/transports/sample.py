"""Asking the same question again and again on a thread of its own, to see when it is answered."""

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from backstay.transports.deadline import deadline, watch
from backstay.transports.ping import Pings
from backstay.transports.urls import is_web_address

Sample = tuple[float, bool]
"""When it was asked (Unix seconds), and whether an answer came in time."""

INTERVAL = 0.2
HTTP_BOUND = 2.0
PING_BOUND = 1.0


class HttpSampler:
    """Asks for a URL every ``interval`` seconds; a status below 500 is an answer."""

    def __init__(self, url: str, *, interval: float = INTERVAL) -> None:
        self.url = url
        self.samples: list[Sample] = []
        self._ticker = _Ticker(self._ask, interval)

    def start(self) -> None:
        """Begin."""
        self._ticker.start()

    def stop(self) -> None:
        """End; waits for the question that is under way."""
        self._ticker.stop(HTTP_BOUND + 1)

    def _ask(self) -> None:
        at = time.time()
        self.samples.append((at, answers_http(self.url, HTTP_BOUND)))


def answers_http(url: str, bound: float) -> bool:
    """Tell whether ``GET url`` brings a status below 500 within ``bound`` seconds."""
    if not is_web_address(url):
        return False
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, bound)
    try:
        with deadline(bound):
            connection.connect()
            watch(connection.sock)
            connection.request("GET", parts.path or "/", headers={"Accept": "application/json"})
            return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connection(
    scheme: str, host: str, port: int | None, bound: float
) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=bound)
    # Only whether anything answers is measured; the check judges what answers. No secret is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=bound, context=context)


class PingSampler:
    """Pings addresses every ``interval`` seconds. Raises PermissionError where it may not."""

    def __init__(self, addresses: Sequence[str], *, interval: float = INTERVAL) -> None:
        self.addresses = tuple(addresses)
        self._pings = Pings()
        self._interval = interval
        self._sent: dict[bytes, tuple[str, float]] = {}
        self._samples: dict[str, dict[float, bool]] = {address: {} for address in addresses}
        self._ticker = _Ticker(self._round, 0.0)
        self._next = time.monotonic()

    def start(self) -> None:
        """Begin."""
        self._next = time.monotonic()
        self._ticker.start()

    def stop(self) -> None:
        """End; replies to what was sent last are waited for."""
        self._ticker.stop(self._interval + 1)
        until = time.monotonic() + PING_BOUND
        while self._sent and time.monotonic() < until:
            self._receive(until)
            self._forget()
        self._pings.close()

    @property
    def samples(self) -> Mapping[str, Sequence[Sample]]:
        """Return each address's samples whose time is up, in order."""
        waiting = {(address, at) for address, at in self._sent.values()}
        return {
            address: [(at, ok) for at, ok in sorted(found.items()) if (address, at) not in waiting]
            for address, found in self._samples.items()
        }

    def _round(self) -> None:
        for address in self.addresses:
            at = time.time()
            self._samples[address][at] = False
            identity = self._pings.send(address)
            if identity is not None:
                self._sent[identity] = (address, at)
        self._next = max(self._next + self._interval, time.monotonic())
        self._receive(self._next)
        self._forget()

    def _receive(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for sender, identity in self._pings.receive(left):
                address, at = self._sent.get(identity, ("", 0.0))
                if address == sender and time.time() - at <= PING_BOUND:
                    self._samples[address][at] = True
                    del self._sent[identity]

    def _forget(self) -> None:
        late = time.time() - PING_BOUND
        for identity in [known for known, (_, at) in self._sent.items() if at < late]:
            del self._sent[identity]


class _Ticker:
    """Calls a function every ``interval`` seconds on a daemon thread, until it is stopped."""

    def __init__(self, call: Callable[[], None], interval: float) -> None:
        self._call = call
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, bound: float) -> None:
        """End, and wait for the call under way for ``bound`` seconds."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(bound)

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            self._call()
            due = max(due + self._interval, time.monotonic())
            self._stopped.wait(max(0.0, due - time.monotonic()))
