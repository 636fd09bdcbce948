"""Beside a running step: are its locks and its epochs still ours? If not, the step is cancelled.

A step may last for hours. Between two steps it would be found out too late that another process
has taken the run over, or that an operator has abandoned it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from backstay.errors import BackstayError
from backstay.journal.locks import LockLost
from backstay.journal.records import LeaseLost

PAUSE = 1.0
"""Seconds between two looks."""
AGAIN = 2.0
"""Seconds between two cancellations of a step that goes on: some have to end what they started."""

Look = Callable[[], Awaitable[None]]
"""Returns while all is ours, or while that is not known; raises LeaseLost or LockLost."""


class LeaseWatch:
    """Whether a run may go on. ``lost`` is why not, None as long as it may."""

    def __init__(self) -> None:
        self.lost: BackstayError | None = None
        self._known = asyncio.Event()

    def report(self, error: BackstayError) -> None:
        """Note that the run may not go on: its step is cancelled."""
        if self.lost is None:
            self.lost = error
        self._known.set()

    def require(self) -> None:
        """Return if the run may go on as far as is known. Raises LeaseLost or LockLost."""
        if self.lost is not None:
            raise self.lost

    @contextlib.asynccontextmanager
    async def watching(self, looks: Sequence[Look]) -> AsyncIterator[None]:
        """Look while the block runs; cancel it and raise the error where one of them raises.

        It is cancelled again and again until it ends: it may hold back a cancellation.
        """
        step = asyncio.current_task()
        assert step is not None  # noqa: S101 - for mypy
        cancelled = 0

        async def cancel() -> None:
            nonlocal cancelled
            await self._known.wait()
            while True:
                cancelled += 1
                step.cancel()
                await asyncio.sleep(AGAIN)

        tasks = [asyncio.ensure_future(self._look(look)) for look in looks]
        tasks.append(asyncio.ensure_future(cancel()))
        try:
            yield
        except asyncio.CancelledError:
            # Cancelled by others too (Ctrl-C): then that goes on.
            if self.lost is None or step.cancelling() > cancelled:
                raise
        except Exception as error:
            if self.lost is None or error is self.lost:
                raise
            raise self.lost from error
        finally:
            for task in tasks:
                task.cancel()
            for _ in range(cancelled):
                step.uncancel()
        self.require()

    async def _look(self, look: Look) -> None:
        while True:
            try:
                await look()
            except (LeaseLost, LockLost) as error:
                self.report(error)
                return
            except Exception:  # noqa: S110 - not known now; the next look, or the next write, tells
                pass
            await asyncio.sleep(PAUSE)
