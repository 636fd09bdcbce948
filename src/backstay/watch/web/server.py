"""The HTTP server of the page, in the event loop of the watch."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from backstay.errors import BackstayError
from backstay.inventory.watch import Page

_MOST_CONNECTIONS = 256
_SHUTDOWN_SECONDS = 3
_IDLE_SECONDS = 10.0


class PageError(BackstayError):
    """The page cannot be served."""


async def serve(app: ASGIApp, page: Page) -> None:
    """Serve until cancelled. Raises PageError if it cannot listen or load its certificate."""
    if page.certificate is not None and page.key is not None:
        _try_certificate(page)
    with _listening(page) as listening:
        server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ssl_certfile=page.certificate,
                ssl_keyfile=page.key,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * _SHUTDOWN_SECONDS):
                    await serving
            raise
    if not server.started:
        raise PageError(
            "serving the status page",
            came_back="the server exited during startup",
            remedy="see the log of the watch: journalctl -u backstay-watch",
        )


class _Protocol(H11Protocol):
    """Closes connections without a request: a few hundred would block all other visitors."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start checking the connection."""
        super().connection_made(transport)
        self.loop.call_later(_IDLE_SECONDS, self._check, self.cycle)

    def _check(self, before: RequestResponseCycle | None) -> None:
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is before:
            self.transport.close()
        else:
            self.loop.call_later(_IDLE_SECONDS, self._check, self.cycle)


class _Server(uvicorn.Server):
    """Leaves signal handling to the watch."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handler."""
        yield


@contextmanager
def _listening(page: Page) -> Iterator[socket.socket]:
    address, port = page.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        remedy = "choose another address: `listen` under `watch.page` in cloud.yaml"
        if error.errno == errno.EADDRINUSE:
            remedy = f"find the process that uses it: ss -ltnp 'sport = :{port}'; or {remedy}"
        raise PageError(
            f"listening on {page.listen} for the status page",
            came_back=os.strerror(error.errno) if error.errno else str(error),
            remedy=remedy,
        ) from error
    with listening:
        yield listening


def _try_certificate(page: Page) -> None:
    """Load certificate and key once. Raises PageError."""
    attempted = f"reading the page's certificate {page.certificate} and key {page.key}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key is refused: its passphrase cannot be entered.
        context.load_cert_chain(str(page.certificate), str(page.key), password=lambda: "")
    except ssl.SSLError as error:
        pair = "MISMATCH" in (error.reason or "")
        raise PageError(
            attempted,
            came_back="the key does not belong to the certificate"
            if pair
            else "not a certificate and its unencrypted key in PEM format",
            remedy="openssl x509 -in CERTIFICATE -noout -text; openssl pkey -in KEY -noout",
        ) from error
    except (OSError, ValueError) as error:
        raise PageError(
            attempted,
            came_back=getattr(error, "strerror", None) or str(error),
            remedy="check that both files exist and are readable for the user of the watch",
        ) from error
