"""One HTTP request on a connection of its own, bounded, classified by how far it came.

Cheap enough for every second: no session, no thread. https://h11.readthedocs.io/
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import h11

from backstay.answers import clean
from backstay.transports.tls import Trust, context_of
from backstay.transports.urls import is_web_address

_USUAL = Trust()
_PIECE = 1 << 16


class HttpOutcome(StrEnum):
    """How far it came. ``SILENT`` is no connection in time, ``LATE`` no answer on a connection."""

    ANSWERED = "answered"
    LATE = "late"
    BROKEN = "broken"
    REFUSED = "refused"
    SILENT = "silent"


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
) -> HttpExchange:
    """Make one request; ``bound`` is in seconds, from the connection to the answer's head.

    ``trust`` is what the server's certificate is checked against. A URL that cannot be asked is an
    outcome too. No redirect is followed.
    """
    started = time.monotonic()
    connected = False

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
    parts = urlsplit(url)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(bound):
            secure = context_of(trust) if parts.scheme == "https" else None
            port = parts.port or (443 if secure else 80)
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
            connected = True
            status, date = await _asked(reader, writer, method, url, headers or {})
    except TimeoutError:
        if connected:
            return ended(HttpOutcome.LATE, f"accepts the connection, no answer within {bound:g} s")
        return ended(HttpOutcome.SILENT, f"no connection within {bound:g} s")
    except ConnectionRefusedError:
        return ended(HttpOutcome.REFUSED, "refuses the connection")
    except (OSError, h11.ProtocolError, ValueError) as error:
        message = clean(str(error), longest=200) or type(error).__name__
        return ended(
            HttpOutcome.BROKEN if connected or parts.scheme == "https" else HttpOutcome.SILENT,
            message,
        )
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.transport.abort()
    return ended(HttpOutcome.ANSWERED, f"status {status}", status, date)


async def _asked(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    url: str,
    headers: Mapping[str, str],
) -> tuple[int, str]:
    """Send the request and return the status of the answer, and its header ``Date``."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    client = h11.Connection(our_role=h11.CLIENT)
    host = parts.netloc.rpartition("@")[2]
    sent = [("Host", host), ("Connection", "close"), *headers.items()]
    writer.write(client.send(h11.Request(method=method, target=path, headers=sent)) or b"")
    writer.write(client.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            dates = [value for name, value in event.headers if name == b"date"]
            return event.status_code, clean(b"".join(dates[:1]).decode("latin-1"), longest=100)
        if event is h11.NEED_DATA:
            data = await reader.read(_PIECE)
            if not data:
                raise ConnectionError("closes the connection without an answer")
            client.receive_data(data)
