"""One HTTP request on a connection of its own, bounded, classified by how far it came.

Cheap enough for every second: no session, no thread. https://h11.readthedocs.io/
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

import h11

from backstay.answers import clean
from backstay.transports.tls import Trust, context_of
from backstay.transports.urls import is_web_address, without_secrets

_USUAL = Trust()
_PIECE = 1 << 16


class HttpOutcome(StrEnum):
    """How far it came. ``SILENT`` is no connection in time, ``LATE`` no answer on a connection.

    ``UNASKED`` is that the proxy did not lead there, which tells nothing of the server.
    """

    ANSWERED = "answered"
    LATE = "late"
    BROKEN = "broken"
    REFUSED = "refused"
    SILENT = "silent"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpExchange:
    """How a request ended; ``status`` is 0 where no answer came, ``message`` is the reason.

    ``date`` is the server's clock as it says it (RFC 9110, 6.6.1), empty where it does not.
    """

    outcome: HttpOutcome
    seconds: float
    status: int = 0
    message: str = ""
    date: str = ""


async def exchange(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    bound: float,
    trust: Trust = _USUAL,
    proxy: str | None = None,
) -> HttpExchange:
    """Make one request; ``bound`` is in seconds, from the connection to the answer's head.

    ``trust`` is what the server's certificate is checked against. ``proxy`` is the URL of an HTTP
    proxy to ask through. A URL that cannot be asked is an outcome too. No redirect is followed.
    """
    started = time.monotonic()
    connected = at_proxy = False

    def ended(
        outcome: HttpOutcome, message: str = "", status: int = 0, date: str = ""
    ) -> HttpExchange:
        return HttpExchange(
            outcome=outcome,
            seconds=time.monotonic() - started,
            status=status,
            message=message,
            date=date,
        )

    if not is_web_address(url):
        return ended(HttpOutcome.BROKEN, f"is no address: {clean(url, longest=100)}")
    via = _proxy(proxy) if proxy else None
    if proxy and via is None:
        return ended(HttpOutcome.UNASKED, f"the proxy {_shown(proxy)} is none that speaks HTTP")
    parts = urlsplit(url)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(bound):
            secure = context_of(trust) if parts.scheme == "https" else None
            port = parts.port or (443 if secure else 80)
            if via is None:
                reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
            else:
                at_proxy = True
                reader, writer = await asyncio.open_connection(via.hostname, via.port or 80)
                if secure:
                    await _led_through(reader, writer, f"{_bracketed(parts)}:{port}", via)
                at_proxy = False
                if secure:
                    await writer.start_tls(secure, server_hostname=parts.hostname)
            connected = True
            plain = via if secure is None else None
            status, date = await _asked(reader, writer, method, url, headers or {}, proxy=plain)
    except _NotLedThrough as error:
        outcome = HttpOutcome.BROKEN if error.tried else HttpOutcome.UNASKED
        return ended(outcome, f"the proxy {_shown(proxy or '')} {error}")
    except (TimeoutError, OSError, h11.ProtocolError, ValueError) as error:
        why = _why(error, bound, connected=connected, secure=parts.scheme == "https")
        if at_proxy:
            why = HttpOutcome.UNASKED, f"the proxy {_shown(proxy or '')}: {why[1]}"
        return ended(*why)
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.transport.abort()
    return ended(HttpOutcome.ANSWERED, f"status {status}", status, date)


def _why(
    error: Exception, bound: float, *, connected: bool, secure: bool
) -> tuple[HttpOutcome, str]:
    """Return how an error of a server is seen, and in which words."""
    if isinstance(error, TimeoutError):
        if connected:
            return HttpOutcome.LATE, f"accepts the connection, no answer within {bound:g} s"
        return HttpOutcome.SILENT, f"no connection within {bound:g} s"
    if isinstance(error, ConnectionRefusedError):
        return HttpOutcome.REFUSED, "refuses the connection"
    return HttpOutcome.BROKEN if connected or secure else HttpOutcome.SILENT, _words(error)


def _words(error: Exception) -> str:
    return clean(str(error), longest=200) or type(error).__name__


def _proxy(url: str) -> SplitResult | None:
    """Return a proxy's URL in its parts, None where this module does not speak to such a one."""
    whole = url if "://" in url else f"http://{url}"
    return urlsplit(whole) if is_web_address(whole) and whole.startswith("http://") else None


def _shown(proxy: str) -> str:
    return without_secrets(proxy if "://" in proxy else f"http://{proxy}")


def _bracketed(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _login(proxy: SplitResult) -> list[tuple[str, str]]:
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return [("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode()}")]


class _NotLedThrough(Exception):
    """A proxy made no tunnel; ``tried``: it says that the server is what did not answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answers {status}")
        self.tried = status in {502, 503, 504}


async def _led_through(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str, proxy: SplitResult
) -> None:
    """Have a proxy lead this connection to a server. Raises _NotLedThrough."""
    client = h11.Connection(our_role=h11.CLIENT)
    request = h11.Request(method="CONNECT", target=to, headers=[("Host", to), *_login(proxy)])
    answer = await _answered(reader, writer, client, request)
    if not 200 <= answer.status_code < 300:
        raise _NotLedThrough(answer.status_code)


async def _asked(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    proxy: SplitResult | None,
) -> tuple[int, str]:
    """Send the request and return the status of the answer, and its header ``Date``.

    ``proxy`` is the one to which it is sent, None where it goes to the server itself.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    client = h11.Connection(our_role=h11.CLIENT)
    host = parts.netloc.rpartition("@")[2]
    sent = [("Host", host), ("Connection", "close"), *headers.items()]
    if proxy is not None:
        path, sent = f"{parts.scheme}://{host}{path}", [*sent, *_login(proxy)]
    request = h11.Request(method=method, target=path, headers=sent)
    answer = await _answered(reader, writer, client, request)
    dates = [value for name, value in answer.headers if name == b"date"]
    return answer.status_code, clean(b"".join(dates[:1]).decode("latin-1"), longest=100)


async def _answered(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    client: h11.Connection,
    request: h11.Request,
) -> h11.Response:
    """Send a request and return the head of its answer."""
    writer.write(client.send(request) or b"")
    writer.write(client.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            data = await reader.read(_PIECE)
            if not data:
                raise ConnectionError("closes the connection without an answer")
            client.receive_data(data)
