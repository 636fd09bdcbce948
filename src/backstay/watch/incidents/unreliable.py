"""A store that may be locked, full or out of reach: its failures are kept in words, not raised."""

from collections.abc import Callable
from typing import TypeVar

from backstay.journal.records import JournalError, LeaseLost
from backstay.transports.threads import on_thread
from backstay.watch.incidents.store import WatchStore

T = TypeVar("T")

BUSY = 1.0
"""Seconds that its database should wait for another process's write."""
BOUND = 3.0
"""Seconds after which it counts as out of reach."""


class Unreliable:
    """Calls of a store, on threads. ``trouble`` is why the last one failed, None where it did not.

    ``fenced`` tells that another process has taken the watch over: nothing more is asked then.
    """

    def __init__(self, store: WatchStore, name: str) -> None:
        self.store = store
        self.name = name
        self.trouble: JournalError | None = None
        self.fenced = False

    async def asked(self, call: Callable[[], T]) -> T | None:
        """Return what a call returns, None where it failed."""
        if self.fenced:
            return None
        try:
            answer = await on_thread(call, BOUND)
        except LeaseLost:
            self.fenced = True
        except JournalError as error:
            self.trouble = error
        except TimeoutError:
            self.trouble = JournalError(
                f"using {self.name}",
                came_back=f"no answer within {BOUND:g} s",
                remedy="see what holds it up, or name another journal in BACKSTAY_JOURNAL",
            )
        else:
            self.trouble = None
            return answer
        return None

    async def done(self, call: Callable[[], None]) -> bool:
        """Say whether a call was made."""

        def did() -> bool:
            call()
            return True

        return bool(await self.asked(did))
