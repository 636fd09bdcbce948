"""HTTP on one connection: what a request and a response may take, and who is served first."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from backstay.watch.web.connections import Stage
from backstay.watch.web.listening import Peer
from backstay.watch.web.problem import problem
from backstay.watch.web.rates import Rates, SeldomFilter

REQUEST_SECONDS = 10.0
"""Within which a request has to be complete, headers and body, after the one before it.

Strangers have between half of it and all of it, at random: a thousand of them who are disconnected
and come again are spread over time.
"""
RESPONSE_SECONDS = 30.0
"""Within which a response has to be made; live streams have a bound of their own."""
TAKEN_SECONDS = 10.0
LEAST_TAKEN = 16 * 1024
"""Bytes of a response that a reader has to take in that time."""

LONGEST_HEAD = 16 * 1024
LONGEST_QUERY = 2048
MOST_HEADERS = 100

_SLICE = 8 * 1024
_REFUSAL_HEADERS = {
    "Connection": "close",
    "Retry-After": "1",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

Recognise = Callable[[Headers], str | None]
"""Returns the person whose valid login or token the headers hold, None for a stranger."""

# Of uvicorn's own lines most are about one request, and strangers can cause as many as they like.
log = logging.getLogger("backstay.watch.web.http")
log.addFilter(SeldomFilter())


class Gate:
    """Decides on each request before it reaches the application."""

    def __init__(self, app: ASGIApp, recognise: Recognise) -> None:
        self._app, self._recognise = app, recognise
        self._all_strangers = Rates(rate=100, burst=200)
        self._strangers = Rates(rate=50, burst=150)
        self._known = Rates(rate=50, burst=150)

    async def serve(self, peer: Peer, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of a connection."""
        refused = _too_long(scope)
        if refused is None:
            name = self._recognise(Headers(scope=scope))
            peer.move(*((Stage.KNOWN, name) if name else (Stage.UNKNOWN, peer.network)))
            if not self._allows(name, peer.network):
                refused = 429, "too many requests: wait a second"
        if refused is not None:
            await problem(*refused, headers=_REFUSAL_HEADERS)(scope, receive, send)
            return
        bound = asyncio.timeout(RESPONSE_SECONDS)

        async def bounded(message: Message) -> None:
            if message["type"] == "http.response.start":
                peer.endless = _is_stream(message)
                if peer.endless:
                    bound.reschedule(None)
            peer.touch()
            await send(message)

        try:
            async with bound:
                await self._app(scope, receive, bounded)
        except TimeoutError:
            if not bound.expired():
                raise
            peer.close("no response in time")
        except ClientDisconnect:
            peer.close()

    def _allows(self, name: str | None, network: str) -> bool:
        if name:
            return self._known.allow(name)
        return self._strangers.allow(network) and self._all_strangers.allow("")


def _too_long(scope: Scope) -> tuple[int, str] | None:
    """Return status and reason if a request's head is longer than any that is needed here."""
    headers = scope["headers"]
    if len(scope["raw_path"]) > LONGEST_QUERY or len(scope["query_string"]) > LONGEST_QUERY:
        return 414, f"the address is longer than {LONGEST_QUERY} bytes"
    size = sum(len(name) + len(value) for name, value in headers)
    if size > LONGEST_HEAD or len(headers) > MOST_HEADERS:
        return 431, f"more than {MOST_HEADERS} headers, or longer than {LONGEST_HEAD} bytes"
    return None


def _is_stream(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message["headers"]
    )


class HttpProtocol(H11Protocol):
    """Uvicorn's protocol, with bounds: it has none for slow requests and slow readers."""

    def __init__(
        self,
        peer: Peer,
        gate: Gate,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.logger = log
        self.access_log = False
        self._peer, self._gate = peer, gate
        self._request_timer: asyncio.TimerHandle | None = None
        self._taken_timer: asyncio.TimerHandle | None = None
        self._unread = bytearray()
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = self.cycle
        try:
            await self._gate.serve(self._peer, scope, receive, send)
        except asyncio.CancelledError:
            # Only uvicorn cancels: the page ends before this response, which is no error of it.
            self._peer.close("ended with the page")
        if self.transport.is_closing() and not cycle.response_complete:
            cycle.disconnected = True  # or a line of the log says that there was no response

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request its time."""
        self._peer.connected = True
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        for timer in (self._request_timer, self._taken_timer):
            if timer is not None:
                timer.cancel()
        self._unread.clear()
        self._peer.left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on: at once of whoever is known, in their turn of strangers."""
        if self._unread:
            self._unread += data
            return
        if self._peer.stage is Stage.KNOWN:
            self._read(data)
            return
        self._unread += data
        self.transport.pause_reading()
        self._peer.turns.take(self._peer.network, self._read_unread)

    def _read_unread(self) -> None:
        data = bytes(self._unread)
        self._unread.clear()
        if not data or self.transport.is_closing():
            return
        if not self.flow.read_paused:
            self.transport.resume_reading()
        self._read(data)

    def _read(self, data: bytes) -> None:
        # In slices: the parser bounds only a head that is not complete yet.
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            try:
                super().data_received(data[start : start + _SLICE])
            except (h11.ProtocolError, ValueError):
                self._peer.close("no HTTP")
                return

    def shutdown(self) -> None:
        """End a live stream at once: the browser connects again. Other responses may end."""
        if self._peer.endless:
            self._peer.close()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Say that it is no HTTP, where a response is still possible."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application's response comes too late
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self._peer.close("no HTTP")

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a request to upgrade is answered as if it had not been asked for."""

    def on_response_complete(self) -> None:
        """Give the next request its time, which is also that of the rest of this response."""
        self._await_request()
        super().on_response_complete()

    def _await_request(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
        spread = 1.0 if self._peer.stage is Stage.KNOWN else random.uniform(0.5, 1.0)  # noqa: S311
        self._request_timer = self.loop.call_later(spread * REQUEST_SECONDS, self._overdue)

    def _overdue(self) -> None:
        cycle = self.cycle
        complete = cycle is not None and not cycle.more_body
        if complete and not cycle.response_complete:
            return  # it is being answered; on_response_complete begins anew
        if self.flow.write_paused:
            self._await_request()  # the reader of the last response is watched by _check_taken
            return
        self._peer.close("no request in time")

    def pause_writing(self) -> None:
        """See that the reader takes what waits."""
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        """Go on writing."""
        if self._taken_timer is not None:
            self._taken_timer.cancel()
        super().resume_writing()

    def _watch_taking(self) -> None:
        size = self.transport.get_write_buffer_size()
        self._taken_timer = self.loop.call_later(TAKEN_SECONDS, self._check_taken, size)

    def _check_taken(self, before: int) -> None:
        if not self.flow.write_paused:
            return
        if self.transport.get_write_buffer_size() > before - LEAST_TAKEN:
            self._peer.close("response not taken")
        else:
            self._watch_taking()
