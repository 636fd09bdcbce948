"""The HTTP server of the page, in the event loop of the watch."""

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging import getLogger

import uvicorn
from fastapi import FastAPI

from backstay.errors import BackstayError
from backstay.inventory.watch import Page
from backstay.watch.web.connections import Rooms, limits_for
from backstay.watch.web.context import PageContext
from backstay.watch.web.listening import BACKLOG, Listener, Peer
from backstay.watch.web.protocol import Gate, HttpProtocol
from backstay.watch.web.rates import Summary

_SHUTDOWN_SECONDS = 3

_log = getLogger(__name__)


class PageError(BackstayError):
    """The page cannot be served."""


async def serve(app: FastAPI, page: Page) -> None:
    """Serve until cancelled. Raises PageError if it cannot listen or load its certificate."""
    if page.certificate is not None and page.key is not None:
        _try_certificate(page)
    with _listening(page) as listening:
        server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ssl_certfile=page.certificate,
                ssl_keyfile=page.key,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            ),
            listening,
            app.state.context,
        )
        serving = asyncio.ensure_future(server.serve())
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


class _Server(uvicorn.Server):
    """Uvicorn, with a listener of our own: its own accepts and encrypts without any bound."""

    def __init__(
        self, config: uvicorn.Config, listening: socket.socket, context: PageContext
    ) -> None:
        super().__init__(config)
        self._listening, self._context = listening, context
        self._listener: Listener | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections."""
        await self.lifespan.startup()
        self.servers = []
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        gate = Gate(self.config.loaded_app, self._context.access.recognise)

        def make(peer: Peer) -> asyncio.Protocol:
            return HttpProtocol(peer, gate, self.config, self.server_state, self.lifespan.state)

        self._listener = Listener(
            self._listening,
            context=self.config.ssl,
            rooms=Rooms(limits_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
            summary=Summary(_log.warning),
            make=make,
        )
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, let responses end, close all connections."""
        if self._listener is not None:
            self._listener.close()
        await super().shutdown(sockets)
        if self._listener is not None:
            self._listener.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handler: signals are left to the watch."""
        yield


@contextmanager
def _listening(page: Page) -> Iterator[socket.socket]:
    address, port = page.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=BACKLOG)
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
