"""Who a request is from and what it may do: tokens of cloud.yaml, logins, failed attempts.

Tokens are those of ``watch.page.people``. Logins live in the memory of this process. All memory
here is bounded.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser

from backstay.clock import since_boot
from backstay.errors import InventoryError
from backstay.inventory.watch import Page, Right
from backstay.watch.web.connections import network_of

SHORTEST = 16
"""Characters of a token, at least."""

SESSION_SECONDS = 12 * 3600.0
"""How long a login is valid: a shift."""

ATTEMPTS = 5
ANYWHERE = 4
WITHIN = 300.0
"""Within so many seconds an address may fail this often with one token, and with this many
different ones; one token may fail ANYWHERE times as often from all together. Then wrong ones have
to wait. Right ones are always let in: wrong ones could otherwise keep everybody out."""

_MOST_SESSIONS = 1000
_MOST_SESSIONS_EACH = 50
_MOST_ADDRESSES = 4096
_PREFIX = 8


class TooManyAttempts(Exception):
    """Too many wrong tokens came from this address; it may try again in ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong tokens: wait {seconds:.0f} s")
        self.seconds = seconds


class WrongToken(Exception):
    """The token that was given is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who a request is from: a name under ``people``, empty for anybody on this machine."""

    name: str
    may: Right

    @property
    def may_act(self) -> bool:
        """Return whether more than reading is allowed."""
        return self.may is Right.ACT


LOCAL_VISITOR = Visitor(name="", may=Right.READ)


class People:
    """Recognises people by their tokens, of which only digests are stored."""

    def __init__(self, page: Page) -> None:
        """Read the tokens. Raises InventoryError if one cannot be read, is short or not unique."""
        self._digests: dict[str, bytes] = {}
        self._may = {name: person.may for name, person in page.people.items()}
        for name, person in page.people.items():
            token = person.token.reveal().strip()
            if len(token) < SHORTEST:
                raise InventoryError(
                    f"reading the token of {name} under `watch.page.people`",
                    came_back=f"it has {len(token)} characters, at least {SHORTEST} are required",
                    remedy="generate a new one: python3 -c 'import secrets; "
                    "print(secrets.token_urlsafe(24))'",
                )
            digest = _digest(token)
            if digest in self._digests.values():
                raise InventoryError(
                    f"reading the token of {name} under `watch.page.people`",
                    came_back="another person has the same token",
                    remedy="give each person a token of their own: actions are recorded by name",
                )
            self._digests[name] = digest

    def named(self, name: str, token: str) -> Visitor | None:
        """Return the person of that name if the token is theirs, else None."""
        known = self._digests.get(name, b"")
        # Compared in any case: a wrong name takes as long as a wrong token.
        same = hmac.compare_digest(known, _digest(token.strip()))
        return self._visitor(name) if same else None

    def by_token(self, token: str) -> Visitor | None:
        """Return the person with this token, else None, in the same time for every token."""
        given = _digest(token.strip())
        found = [name for name, known in self._digests.items() if hmac.compare_digest(known, given)]
        return self._visitor(found[0]) if found else None

    def _visitor(self, name: str) -> Visitor:
        return Visitor(name=name, may=self._may[name])


@dataclass(slots=True, kw_only=True)
class Session:
    """A login. ``message`` is shown once, on the next page."""

    visitor: Visitor
    until: float
    message: str = ""


class Sessions:
    """Logins by digests of their random names, and the tokens that forms carry (CSRF).

    If there are too many, the oldest ends: of the same person, then of all.
    https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html
    """

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def start(self, visitor: Visitor, now: float) -> str:
        """Start a session, and return its name, for a cookie."""
        name = secrets.token_urlsafe(32)
        mine = [key for key, one in self._open.items() if one.visitor.name == visitor.name]
        for key in mine[: max(0, len(mine) + 1 - _MOST_SESSIONS_EACH)]:
            del self._open[key]
        self._open[_digest(name)] = Session(visitor=visitor, until=now + SESSION_SECONDS)
        while len(self._open) > _MOST_SESSIONS:
            self._open.popitem(last=False)
        return name

    def find(self, name: str, now: float) -> Session | None:
        """Return the session of that name, None if there is none or it has expired."""
        session = self._open.get(_digest(name))
        if session is not None and session.until <= now:
            self.end(name)
            return None
        return session

    def end(self, name: str) -> None:
        """End a session."""
        self._open.pop(_digest(name), None)

    def form_token(self, cookie: str) -> str:
        """Return the token for forms sent with this cookie; no other site can know it."""
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, cookie: str, given: str) -> bool:
        """Return whether a form was made for the visitor with this cookie."""
        known = self.form_token(cookie)
        return bool(cookie) and hmac.compare_digest(known.encode(), given.encode())


class FailedAttempts:
    """Counts wrong tokens by address and by how they begin; an IPv6 network is one address.

    By both, because one address may be that of many people, and many addresses may try one token.
    An old token that a program keeps sending counts once at its address: it does not use up the
    attempts of others there.
    """

    def __init__(self) -> None:
        self._by_address, self._by_prefix = _Recent(), _Recent()

    def wait(self, address: str, token: str, now: float) -> float:
        """Return the seconds for which such a token has to wait there, 0 if it may be tried."""
        network, prefix = network_of(address), _prefix(token)
        here, everywhere = self._by_address.find(network, now), self._by_prefix.find(prefix, now)
        return max(
            _wait(here.get(prefix, []), ATTEMPTS, now),
            _wait([times[-1] for times in here.values()], ATTEMPTS, now),
            _wait([at for times in everywhere.values() for at in times], ANYWHERE * ATTEMPTS, now),
        )

    def add(self, address: str, token: str, now: float) -> None:
        """Record a failure."""
        network, prefix = network_of(address), _prefix(token)
        self._by_address.add(network, prefix, now)
        self._by_prefix.add(prefix, network, now)

    def forget(self, address: str, token: str) -> None:
        """Forget the failures at this address of tokens that begin like this one."""
        network, prefix = network_of(address), _prefix(token)
        self._by_address.forget(network, prefix)
        self._by_prefix.forget(prefix, network)


class _Recent:
    """When something failed, by a key and by what failed; bounded in every direction."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, dict[str, list[float]]] = OrderedDict()

    def find(self, key: str, now: float) -> dict[str, list[float]]:
        recent = {
            what: [at for at in times if now - at < WITHIN]
            for what, times in self._failed.get(key, {}).items()
        }
        return {what: times for what, times in recent.items() if times}

    def add(self, key: str, what: str, now: float) -> None:
        mine = self.find(key, now)
        mine[what] = [*mine.pop(what, ()), now][-ATTEMPTS:]
        while len(mine) > ANYWHERE * ATTEMPTS:
            del mine[next(iter(mine))]
        self._failed[key] = mine
        self._failed.move_to_end(key)
        while len(self._failed) > _MOST_ADDRESSES:
            self._failed.popitem(last=False)

    def forget(self, key: str, what: str) -> None:
        mine = self._failed.get(key, {})
        mine.pop(what, None)
        if not mine:
            self._failed.pop(key, None)


def _wait(times: list[float], most: int, now: float) -> float:
    return max(0.0, sorted(times)[-most] + WITHIN - now) if len(times) >= most else 0.0


class Access:
    """Recognises visitors by token, by session, or as being on this machine."""

    def __init__(self, page: Page) -> None:
        """Read the tokens. Raises InventoryError."""
        self.people = People(page)
        self.sessions = Sessions()
        self._attempts = FailedAttempts()
        self._on_loopback = page.on_loopback
        self.encrypted = page.certificate is not None
        # https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
        self.cookie = "__Host-backstay" if self.encrypted else "backstay"

    def visitor(self, request: Request) -> Visitor | None:
        """Return who a request is from, None if reading requires a login and there is none.

        Raises WrongToken or TooManyAttempts.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.bearer(request, token)
        session = self.session(request)
        if session is not None:
            return session.visitor
        return LOCAL_VISITOR if self._on_loopback else None

    def recognise(self, headers: Headers) -> str | None:
        """Return whose valid token or login these headers hold, None for anybody else.

        It counts no failures: ``visitor`` does, once the request is served.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            visitor = self.people.by_token(token)
            return visitor.name if visitor else None
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        session = self.sessions.find(cookie, since_boot()) if cookie else None
        return session.visitor.name if session else None

    def bearer(self, request: Request, token: str) -> Visitor:
        """Return the visitor with this token. Raises WrongToken or TooManyAttempts."""
        return self._attempt(request, self.people.by_token, token)

    def log_in(self, request: Request, name: str, token: str) -> str:
        """Start a session and return its name. Raises WrongToken or TooManyAttempts."""
        visitor = self._attempt(request, lambda given: self.people.named(name, given), token)
        return self.sessions.start(visitor, since_boot())

    def session(self, request: Request) -> Session | None:
        """Return the session of this request, if it has one."""
        return self.sessions.find(request.cookies.get(self.cookie, ""), since_boot())

    def cookie_header(self, value: str, *, seconds: float = SESSION_SECONDS) -> str:
        """Return a Set-Cookie header's value: not for scripts, not for other sites' requests."""
        secure = "; Secure" if self.encrypted else ""
        attributes = f"Path=/; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict{secure}"
        return f"{self.cookie}={value}; {attributes}"

    def is_own_form(self, request: Request, given: str) -> bool:
        """Return whether a form comes from a page of this site made for this visitor."""
        return _same_origin(request) and self.sessions.is_form_token(
            request.cookies.get(self.cookie, ""), given
        )

    def _attempt(
        self, request: Request, known: Callable[[str], Visitor | None], token: str
    ) -> Visitor:
        address, now = request.client.host if request.client else "", since_boot()
        visitor = known(token)
        if visitor is not None:
            self._attempts.forget(address, token)
            return visitor
        wait = self._attempts.wait(address, token, now)
        if wait:
            raise TooManyAttempts(wait)
        self._attempts.add(address, token, now)
        raise WrongToken


def _same_origin(request: Request) -> bool:
    """Return False if the browser says that the request comes from another site.

    Text browsers send neither header; the form token has to be enough then.
    """
    origin = request.headers.get("origin") or request.headers.get("referer")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _prefix(token: str) -> str:
    """Return what is remembered of how a wrong token begins: it may be a mistyped right one."""
    return _digest(token.strip()[:_PREFIX]).hex()[:16]


def _digest(secret: str) -> bytes:
    """Return what is stored of a token: it is long and random, so that one round is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
