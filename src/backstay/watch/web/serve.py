"""Serves the page in the watch's own event loop."""

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

_AT_ONCE = 256
_GOODBYE = 3
_PATIENCE = 10.0


class PageError(BackstayError):
    """The page cannot be served."""


async def serve(app: ASGIApp, page: Page) -> None:
    """Serve until it is cancelled. Raises PageError where it cannot listen, or not encrypted."""
    if page.certificate is not None and page.key is not None:
        _try_certificate(page)
    with _listening(page) as listening:
        server = _Quiet(
            uvicorn.Config(
                app,
                http=_Impatient,
                ssl_certfile=page.certificate,
                ssl_keyfile=page.key,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                limit_concurrency=_AT_ONCE,
                timeout_graceful_shutdown=_GOODBYE,
            )
        )
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * _GOODBYE):
                    await serving
            raise
    if not server.started:
        raise PageError(
            "serving the status page",
            came_back="it ended before it began",
            remedy="see the log: journalctl -u backstay-watch",
        )


class _Impatient(H11Protocol):
    """Closes connections on which no request comes: a few hundred would keep everybody out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Look after the connection from its first moment."""
        super().connection_made(transport)
        self.loop.call_later(_PATIENCE, self._look, self.cycle)

    def _look(self, before: RequestResponseCycle | None) -> None:
        if self.transport.is_closing():
            return
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self.cycle is before:
            self.transport.close()
        else:
            self.loop.call_later(_PATIENCE, self._look, self.cycle)


class _Quiet(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


@contextmanager
def _listening(page: Page) -> Iterator[socket.socket]:
    address, port = page.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        remedy = "let it listen elsewhere: `listen` under `watch.page` in cloud.yaml"
        if error.errno == errno.EADDRINUSE:
            remedy = f"see who has it (ss -ltnp 'sport = :{port}'), or {remedy}"
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
        # An encrypted key is refused: nobody is there to type its passphrase.
        context.load_cert_chain(str(page.certificate), str(page.key), password=lambda: "")
    except ssl.SSLError as error:
        pair = "MISMATCH" in (error.reason or "")
        raise PageError(
            attempted,
            came_back="the key is not the certificate's"
            if pair
            else "they are not a certificate and its unencrypted key in PEM",
            remedy="openssl x509 -in CERTIFICATE -noout -text; openssl pkey -in KEY -noout",
        ) from error
    except (OSError, ValueError) as error:
        raise PageError(
            attempted,
            came_back=getattr(error, "strerror", None) or str(error),
            remedy="see that both are there and that the user of the watch may read them",
        ) from error
