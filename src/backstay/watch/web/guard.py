"""What applies to every request: its host, its size, the headers of every response."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.watch.web.problem import problem

LARGEST = 16 * 1024
"""Bytes of a request's body; forms here are small."""

_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}

# https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html; the referrer is sent
# within this site, because a form's Origin is `null` without it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_ENCRYPTED = {"Strict-Transport-Security": "max-age=31536000"}


ErrorResponse = Callable[[Request, Exception], Awaitable[Response]]
"""Returns the response for an unexpected error."""


class TooLarge(HTTPException):
    """The body of a request is longer than the limit."""

    def __init__(self) -> None:
        super().__init__(413, f"the body is longer than {LARGEST} bytes")


class Guard:
    """Refuses requests for other host names and long bodies; adds the security headers.

    On loopback the name has to be this machine's (``localhost``): a page on the Internet whose name
    resolves to 127.0.0.1 is refused. https://en.wikipedia.org/wiki/DNS_rebinding
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        on_loopback: bool,
        address: str,
        encrypted: bool,
        failed: ErrorResponse,
    ) -> None:
        self._app = app
        self._failed = failed
        self._names = {*_LOCAL_NAMES, address, f"[{address}]"} if on_loopback else None
        self._headers: Mapping[str, str] = _HEADERS | (_ENCRYPTED if encrypted else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    given.setdefault(name, value)
                given.setdefault("Cache-Control", "no-store")
            await send(message)

        if self._names is not None and _name(headers.get("host", "")) not in self._names:
            detail = "this page is served to this machine only, as localhost or 127.0.0.1"
            await problem(421, detail)(scope, receive, with_headers)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST:
            await problem(413, f"the body is longer than {LARGEST} bytes")(
                scope, receive, with_headers
            )
            return
        try:
            await self._app(scope, _bounded(receive), with_headers)
        except ClientDisconnect:
            raise
        except Exception as error:
            if started:
                raise
            response = await self._failed(Request(scope), error)
            await response(scope, receive, with_headers)


def _name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdigit() else host.lower()


def _bounded(receive: Receive) -> Receive:
    """Return a ``receive`` that raises TooLarge, for bodies without a Content-Length."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST:
            raise TooLarge
        return message

    return bounded
