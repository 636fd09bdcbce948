"""Who a request is from, and whether it may do what it asks for."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request

from backstay.inventory.watch import Page
from backstay.watch.web.attempts import Attempts
from backstay.watch.web.people import ON_THIS_MACHINE, People, Visitor
from backstay.watch.web.sessions import LASTS, Session, Sessions


class Limited(Exception):
    """Too many wrong tokens came from this address; ``seconds`` until it may try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong tokens: wait {seconds:.0f} s")
        self.seconds = seconds


class WrongToken(Exception):
    """A token is given, and nobody has it."""


class Access:
    """Knows visitors by token, by session, or as being on this machine."""

    def __init__(self, page: Page) -> None:
        """Read the tokens. Raises InventoryError."""
        self.people = People(page)
        self.sessions = Sessions()
        self._attempts = Attempts()
        self._on_loopback = page.on_loopback
        self.encrypted = page.certificate is not None
        # https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
        self.cookie = "__Host-backstay" if self.encrypted else "backstay"

    def visitor(self, request: Request) -> Visitor | None:
        """Return who asks, None where that is not known and reading wants it to be.

        Raises WrongToken or Limited.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.bearer(request, token)
        session = self.session(request)
        if session is not None:
            return session.visitor
        return ON_THIS_MACHINE if self._on_loopback else None

    def bearer(self, request: Request, token: str) -> Visitor:
        """Return whose token it is. Raises WrongToken or Limited."""
        return self._tried(request, self.people.by_token, token)

    def log_in(self, request: Request, name: str, token: str) -> str:
        """Return the name of a new session, for the cookie. Raises WrongToken or Limited."""
        visitor = self._tried(request, lambda given: self.people.named(name, given), token)
        return self.sessions.begin(visitor, time.time())

    def session(self, request: Request) -> Session | None:
        """Return the session of this request, if it has one."""
        return self.sessions.find(request.cookies.get(self.cookie, ""), time.time())

    def cookie_header(self, value: str, *, lasts: float = LASTS) -> str:
        """Return a Set-Cookie header's value: not for scripts, not for other sites' requests."""
        secure = "; Secure" if self.encrypted else ""
        return (
            f"{self.cookie}={value}; Path=/; Max-Age={lasts:.0f}; HttpOnly; SameSite=Strict{secure}"
        )

    def _tried(
        self, request: Request, known: Callable[[str], Visitor | None], token: str
    ) -> Visitor:
        address, now = _address(request), time.time()
        wait = self._attempts.wait(address, now)
        if wait:
            raise Limited(wait)
        visitor = known(token)
        if visitor is None:
            self._attempts.failed(address, now)
            raise WrongToken
        self._attempts.succeeded(address)
        return visitor

    def is_own_form(self, request: Request, given: str) -> bool:
        """Say whether a form comes from a page of this site that was made for this visitor."""
        return _same_origin(request) and self.sessions.is_form_token(
            request.cookies.get(self.cookie, ""), given
        )


def _same_origin(request: Request) -> bool:
    """Say whether the browser does not say that it comes from elsewhere.

    Text browsers tell neither header; what their forms carry has to be enough.
    """
    origin = request.headers.get("origin") or request.headers.get("referer")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
