"""Who is logged in, in this process's memory; and the tokens that forms carry (CSRF).

https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from backstay.watch.web.people import Visitor

LASTS = 12 * 3600.0
"""Seconds after which a login ends: a shift."""

_MOST = 1000


@dataclass(slots=True, kw_only=True)
class Session:
    """A login. ``told`` is shown once on the next page."""

    visitor: Visitor
    until: float
    told: str = ""


class Sessions:
    """Logins by digests of their random names. Of too many the oldest ends."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def begin(self, visitor: Visitor, now: float) -> str:
        """Log somebody in, and return the name of the session, for a cookie."""
        name = secrets.token_urlsafe(32)
        self._open[_digest(name)] = Session(visitor=visitor, until=now + LASTS)
        while len(self._open) > _MOST:
            self._open.popitem(last=False)
        return name

    def find(self, name: str, now: float) -> Session | None:
        """Return the session of that name, None where it never was or is over."""
        session = self._open.get(_digest(name))
        if session is not None and session.until <= now:
            self.end(name)
            return None
        return session

    def end(self, name: str) -> None:
        """Log out."""
        self._open.pop(_digest(name), None)

    def form_token(self, cookie: str) -> str:
        """Return what a form of the one with this cookie carries: no other site can know it."""
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, cookie: str, given: str) -> bool:
        """Say whether a form was made for the one with this cookie."""
        known = self.form_token(cookie)
        return bool(cookie) and hmac.compare_digest(known.encode(), given.encode())


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
