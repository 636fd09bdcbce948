"""Leader election: of several watches one probes, notifies and acts, the others stand by.

The lock decides (``BACKSTAY_LOCKS``): a file's ends with its process, one in etcd 8 seconds after
its holder was heard last. So that a leader that was cut off from etcd, or stopped for a while, does
not go on beside its successor, the successor raises an epoch in the journal, which every write of
an incident or a notification compares (``incidents.store``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from backstay.errors import BackstayError
from backstay.journal.locks import Held, LockLost, keeper

LIFE = 8
"""Seconds that a lock in etcd outlives the last sign of its holder."""
PAUSE = 1.0
"""Seconds between two looks at the lock."""
BOUND = 3.0
"""Seconds for one question to whatever keeps it."""
RETRY = 5.0
"""Seconds until a keeper of locks that cannot be used is tried again."""


class Lead:
    """The lead. ``doubt`` says why it may be another's by now, empty where that cannot be."""

    def __init__(self, held: Held) -> None:
        self.doubt = ""
        self._held = held
        self._beats = held.beats
        self._beaten = self._looked = time.monotonic()

    async def check(self) -> None:
        """See whether the lead is still held, without doubt. Raises LockLost."""
        now, beats = time.monotonic(), self._held.beats
        if beats is None:
            return
        if now - self._looked > LIFE / 2:
            raise LockLost(
                "leading the watch",
                came_back=f"this process was stopped for {now - self._looked:.0f} s",
                remedy="nothing: it contends for the lead again",
            )
        self._looked = now
        await self._held.still()
        if beats != self._beats:
            self._beats, self._beaten, self.doubt = beats, now, ""
        elif now - self._beaten > LIFE:
            self.doubt = f"the lock was not renewed for {now - self._beaten:.0f} s"


@asynccontextmanager
async def lead(
    url: str, name: str, *, waits: Callable[[str], Awaitable[None]]
) -> AsyncIterator[Lead]:
    """Wait until this process leads, then lead to the end of the block.

    ``waits`` is called again and again with why it does not lead: "" if another does, or what is
    wrong with the keeper of the locks.
    """
    while True:
        async with AsyncExitStack() as stack:
            try:
                held = await stack.enter_async_context(keeper(_short_lived(url), bound=BOUND))
                while not await held.take(name):
                    await waits("")
                    await asyncio.sleep(PAUSE)
            except (BackstayError, TimeoutError) as error:
                wrong = str(error) or "the keeper of the locks does not answer"
            else:
                yield Lead(held)
                return
        await waits(wrong)
        await asyncio.sleep(RETRY)


def _short_lived(url: str) -> str:
    """Return the locks' URL with the lead's own time to live, where the URL gives none."""
    if not url.startswith("etcd3") or "lock_timeout=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}lock_timeout={LIFE}"
