"""Locks between operators, by tooz: files by default, etcd or PostgreSQL by URL.

https://docs.openstack.org/tooz/latest/user/tutorial/lock.html
"""

import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from backstay.errors import BackstayError
from backstay.journal import drivers, lock_state
from backstay.transports.threads import on_thread
from backstay.transports.urls import redacted

T = TypeVar("T")

BOUND = 20.0
"""Seconds for one request to the service that holds the locks."""
CONFIRM_BOUND = 2.0
"""Seconds for the question whether a lock is still ours: beside a running step."""
LEAST_BOUND = 0.2
"""Seconds that this question is given where the lock's life is almost over."""
MARGIN = 2.0
"""Seconds before the end of a lock's life by which it counts as lost, where its life allows that:
others may take it then."""
LET_GO_BOUND = 5.0
"""Seconds for releasing the locks: what is not released then ends with its time to live."""


class LockHeld(BackstayError):
    """Another process holds a lock that is needed."""


class LockLost(BackstayError):
    """A lock was held and is not any more: nothing more may be changed."""


class Held:
    """Locks that are held. ``still`` asks whether they are."""

    def __init__(self, coordinator: Any, url: str, bound: float) -> None:  # noqa: ANN401 - untyped
        self._coordinator = coordinator
        self._url = url
        self._bound = bound
        self._locks: list[tuple[str, Any]] = []
        self._renewed = _since_boot()
        # A lease is renewed by the driver's heartbeat; other kinds live as long as they answer.
        self._leased = not url.startswith("file:") and hasattr(coordinator, "lock_timeout")
        if self._leased:
            coordinator.heartbeat = self._noting_renewals(coordinator.heartbeat)

    def _noting_renewals(self, heartbeat: Callable[[], T]) -> Callable[[], T]:
        """Return a heartbeat that notes since when the locks live: not before it was started.

        What counts is when it was sent, not when it was seen here: they may have been renewed by
        then, and the service silent, for seconds.
        """

        def noting() -> T:
            started = _since_boot()
            answer = heartbeat()
            self._renewed = started
            return answer

        return noting

    async def take(self, name: str) -> bool:
        """Take one more lock, without waiting; return whether it was free. Raises BackstayError."""
        if not self._locks:
            self._renewed = _since_boot()
        lock = await on_thread(lambda: _lock(self._coordinator, name, self._url), self._bound)
        if lock is not None:
            self._locks.append((name, lock))
        return lock is not None

    async def still(self) -> None:
        """Return if all locks are still ours as far as this process knows. Raises LockLost."""
        for name, lock in self._locks:
            if not await on_thread(lambda lock=lock: _owned(lock), self._bound):  # type: ignore[misc]
                raise _lost(name, "the lock service was unreachable for too long")

    async def confirm(self) -> None:
        """Ask whatever holds the locks whether all are still ours. Raises LockLost.

        Where that cannot be found out a lock counts as lost once its time to live has run out
        without a renewal: from then on another process may take it. Seconds are counted while
        this machine sleeps too.
        """

        def ask() -> list[tuple[str, str]]:
            return [(name, lock_state.lost(lock)) for name, lock in list(self._locks)]

        asked = _since_boot()
        left = self._renewed + self._sure_for() - asked
        bound = CONFIRM_BOUND if self._url.startswith("file:") else min(CONFIRM_BOUND, left)
        try:
            for name, why in await on_thread(ask, max(bound, LEAST_BOUND)):
                if why:
                    raise _lost(name, why)
            if not self._leased:
                self._renewed = asked
        except LockLost:
            raise
        except Exception:  # noqa: S110 - the driver's own kinds, and TimeoutError: it is not known
            pass
        silent = _since_boot() - self._renewed
        if silent > self._sure_for() and self._locks and not self._url.startswith("file:"):
            name = self._locks[0][0]
            raise _lost(name, f"the lock service was not reached for {silent:.0f} s")

    def _sure_for(self) -> float:
        """Return for how many seconds after a renewal the locks are surely ours."""
        life = lock_state.time_to_live(self._coordinator)
        # Renewals come each half of its life: it may not count as lost before the next was tried.
        return life - max(0.0, min(MARGIN, life / 2 - MARGIN))

    @property
    def beats(self) -> int | None:
        """Return how often the locks were renewed; None where they last as long as the process."""
        if self._url.startswith("file:"):
            return None
        return int(self._coordinator.heart.beats)

    async def let_go(self) -> None:
        """Release all locks; what cannot be ends with its time to live, or this process."""
        with contextlib.suppress(Exception):
            bound = min(self._bound, LET_GO_BOUND)
            await on_thread(lambda: _let_go(self._coordinator, self._locks), bound)


@asynccontextmanager
async def keeper(url: str, *, bound: float = BOUND) -> AsyncIterator[Held]:
    """Connect to the locks at a tooz URL, holding none yet; they are released at the end.

    They are renewed in the background. ``bound`` is for one request, in seconds. Raises
    BackstayError where it cannot be used, TimeoutError where it does not answer.
    """
    mine = Held(await on_thread(lambda: _started(url), BOUND), url, bound)
    try:
        yield mine
    finally:
        await mine.let_go()


@asynccontextmanager
async def held(url: str, names: Sequence[str], holder: Callable[[str], str]) -> AsyncIterator[Held]:
    """Hold all locks, or none: ``names`` are taken in their order, without waiting.

    ``holder`` returns the last holder of a lock. Raises LockHeld naming the holder, BackstayError
    where the locks cannot be used.
    """
    async with keeper(url) as mine:
        for name in names:
            if not await mine.take(name):
                raise LockHeld(
                    f"taking the lock of {name}",
                    came_back=f"it is held by {holder(name) or 'an unknown process'}",
                    remedy="wait for that run to end (backstay runs list), or end that process "
                    "and then resume or abandon its run",
                )
        yield mine


def _started(url: str) -> Any:  # noqa: ANN401 - tooz is untyped here
    from tooz import coordination  # noqa: PLC0415 - heavy

    # It calls every driver that is not installed a failure, and locks that end with the process.
    logging.getLogger("tooz").setLevel(logging.CRITICAL)
    logging.getLogger("stevedore").setLevel(logging.CRITICAL)
    try:
        if url.startswith("file://"):
            folder = Path(url.removeprefix("file://"))
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        member = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        coordinator = coordination.get_coordinator(url, member.encode())
        # Without a heart of its own a lock ends after its time to live, unnoticed.
        coordinator.start(start_heart=True)
    except ImportError as error:
        other = "name other locks in BACKSTAY_LOCKS"
        came_back, remedy = drivers.missing(error, otherwise=other)
        raise _unusable(url, came_back, remedy) from error
    except Exception as error:  # tooz, the library below it, or no such driver
        raise _unusable(url, str(error)) from error
    return coordinator


def _lock(coordinator: Any, name: str, url: str) -> Any:  # noqa: ANN401 - as above
    try:
        lock = coordinator.get_lock(f"backstay-{name.replace('/', '.')}".encode())
        return lock if lock.acquire(blocking=False) else None
    except Exception as error:  # as above
        raise _unusable(url, str(error)) from error


def _owned(lock: Any) -> bool:  # noqa: ANN401 - as above
    try:
        return bool(lock.is_still_owner())
    except (AttributeError, NotImplementedError):  # files, and etcd
        return bool(lock.acquired)


def _lost(name: str, why: str) -> LockLost:
    return LockLost(
        f"continuing under the lock {name}",
        came_back=f"the lock was lost: {why}",
        remedy="find its holder (backstay runs list), resume this run when it is free",
    )


def _since_boot() -> float:
    """Return seconds since this machine booted, those included that it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _let_go(coordinator: Any, taken: Sequence[tuple[str, Any]]) -> None:  # noqa: ANN401
    for _, lock in reversed(taken):
        lock.release()
    coordinator.stop()


def _unusable(url: str, came_back: str, remedy: str = "") -> BackstayError:
    place = url.partition("://")[0]
    return BackstayError(
        f"using the locks ({place})",
        came_back=redacted(" ".join(came_back.split()))[:300] or "no connection",
        remedy=remedy or "make sure that they can be reached, or name others in BACKSTAY_LOCKS",
    )
