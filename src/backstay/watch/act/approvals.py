"""Approvals: a plan waits until it is approved with the code that was sent, which works once.

The journal keeps a digest of the code only: who can read it, or the page, cannot approve. The code
itself is in this process, and in the messages. After a restart of the watch before the messages
went out nobody has it: another is made then.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from backstay.clock import SLACK, Ages, since_boot
from backstay.errors import BackstayError
from backstay.transports.threads import on_thread
from backstay.watch.incidents.incident import Approval, Incident
from backstay.watch.incidents.store import WatchStore

BOUND = 20.0
_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # none that is taken for another
_GROUPS = 4


class NotApproved(BackstayError):
    """A code that approves nothing, or nothing any more."""


def new_code() -> str:
    """Return a code that nobody can guess: four groups of four, to be typed from a phone."""
    letters = ["".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(_GROUPS)]
    return "-".join(letters)


def digest_of(code: str) -> str:
    """Return what is kept of a code; how it was typed does not matter."""
    letters = "".join(one for one in code.upper() if one.isalnum())
    return hashlib.sha256(letters.encode()).hexdigest()


class Approvals:
    """The plans that wait. Its calls wait for the journal, and raise JournalError, TimeoutError."""

    def __init__(self, store: WatchStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._ages = Ages(clock, since_boot if clock is time.time else clock)
        self._codes: dict[int, str] = {}

    def command(self, incident: Incident) -> str:
        """Return what approves the plan for an incident, empty where this process knows no code."""
        code = self._codes.get(incident.id)
        return f"backstay watch approve {code}" if code else ""

    async def ask(self, incident: Incident, run: str, *, lasts: float) -> None:
        """Let a run wait for an approval for ``lasts`` seconds; an earlier code for it is void."""
        code, now = new_code(), self._clock()

        def write() -> None:
            self._store.refuse_approvals(run)
            self._store.ask(digest_of(code), incident.id, run, made=now, until=now + lasts)

        await on_thread(write, BOUND)
        self._ages.of(now)  # from here on by a clock that nobody sets
        self._codes[incident.id] = code

    async def of(self, incident: Incident) -> Approval | None:
        """Return the newest plan that waits, or waited, for an incident."""
        found = await on_thread(lambda: self._store.approvals(incident.id), BOUND)
        return found[-1] if found else None

    def knows(self, incident: Incident) -> bool:
        """Return whether this process has the code, to be sent."""
        return incident.id in self._codes

    async def refuse(self, run: str) -> None:
        """Let a run not be approved any more."""
        await on_thread(lambda: self._store.refuse_approvals(run), BOUND)

    async def by_page(self, incident: int, code: str, who: str) -> str:
        """Approve what waits for an incident; return what is done then. Raises NotApproved."""
        now, age = self._clock(), self._ages.of
        run = await on_thread(
            lambda: approve(self._store, code, by=who, now=now, age=age, incident=incident), BOUND
        )
        return f"{run} starts; see backstay runs show {run}"


def waiting(
    store: WatchStore,
    code: str,
    *,
    now: float,
    age: Callable[[float], float] | None = None,
    incident: int | None = None,
) -> Approval:
    """Return what waits for a code, which is not used. Raises NotApproved, JournalError.

    It blocks. ``age`` returns how long ago a time was, by default by ``now``; ``incident`` is the
    intended one, where that is known.
    """
    digest = digest_of(code)
    found = store.approval(digest)
    if (
        found is None
        or not hmac.compare_digest(found[0], digest)
        or incident not in {None, found[1].incident}
    ):
        raise NotApproved(
            "approving a plan",
            came_back="no plan waits for this code",
            remedy="take it from the newest message; see what waits: backstay watch incidents",
        )
    approval = found[1]
    if approval.used is not None:
        raise _not(approval, f"it was used already, by {approval.by}, for {approval.run}")
    if approval.refused:
        raise _not(
            approval,
            f"{approval.run} may not be started any more: the incident is over, or changed",
        )
    passed = now - approval.made if age is None else age(approval.made)
    if passed >= approval.until - approval.made:
        raise _not(approval, "it has expired")
    if passed < -SLACK:
        raise _not(approval, "it is of a time in the future: the clock was set back since")
    return approval


def approve(
    store: WatchStore,
    code: str,
    *,
    by: str,
    now: float,
    age: Callable[[float], float] | None = None,
    incident: int | None = None,
) -> str:
    """Use a code; return the run that it approves. Raises NotApproved, JournalError.

    It blocks. ``age`` and ``incident`` are as for ``waiting``.
    """
    approval = waiting(store, code, now=now, age=age, incident=incident)
    if not store.use_approval(digest_of(code), by=by, at=now):
        raise _not(approval, "somebody else has just used it")
    return approval.run


def _not(approval: Approval, why: str) -> NotApproved:
    return NotApproved(
        "approving a plan", came_back=why, remedy=f"see the run: backstay runs show {approval.run}"
    )
