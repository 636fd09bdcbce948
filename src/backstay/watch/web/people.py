"""Who may use the page and the API: the tokens of ``watch.page.people`` in cloud.yaml."""

import hashlib
import hmac
from dataclasses import dataclass

from backstay.errors import InventoryError
from backstay.inventory.watch import Page, Right

SHORTEST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks: a name under ``people``, or empty for whoever is on this machine."""

    name: str
    may: Right

    @property
    def may_act(self) -> bool:
        """Say whether more than reading is allowed."""
        return self.may is Right.ACT


ON_THIS_MACHINE = Visitor(name="", may=Right.READ)


class People:
    """Knows people by their tokens, of which only digests are kept."""

    def __init__(self, page: Page) -> None:
        """Read the tokens. Raises InventoryError where one cannot be read or is too short."""
        self._digests: dict[str, bytes] = {}
        self._may = {name: person.may for name, person in page.people.items()}
        for name, person in page.people.items():
            token = person.token.reveal().strip()
            if len(token) < SHORTEST:
                raise InventoryError(
                    f"reading the token of {name} under `watch.page.people`",
                    came_back=f"it has {len(token)} characters, and {SHORTEST} are the least",
                    remedy="make a new one: python3 -c 'import secrets; "
                    "print(secrets.token_urlsafe(24))'",
                )
            digest = _digest(token)
            if digest in self._digests.values():
                raise InventoryError(
                    f"reading the token of {name} under `watch.page.people`",
                    came_back="somebody else has the same",
                    remedy="give everybody a token of their own: what they do is told by name",
                )
            self._digests[name] = digest

    def named(self, name: str, token: str) -> Visitor | None:
        """Return the person of that name, where the token is theirs."""
        known = self._digests.get(name, b"")
        # Compared in any case: a wrong name takes as long as a wrong token.
        same = hmac.compare_digest(known, _digest(token.strip()))
        return self._visitor(name) if same else None

    def by_token(self, token: str) -> Visitor | None:
        """Return whose token it is. Every known one is compared: the time tells nothing."""
        given = _digest(token.strip())
        found = [name for name, known in self._digests.items() if hmac.compare_digest(known, given)]
        return self._visitor(found[0]) if found else None

    def _visitor(self, name: str) -> Visitor:
        return Visitor(name=name, may=self._may[name])


def _digest(token: str) -> bytes:
    """Return what is kept of a token: it is long and random, so that one round is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
