"""Locks between operators, by tooz: files by default, etcd or PostgreSQL by URL.

https://docs.openstack.org/tooz/latest/user/tutorial/lock.html
"""

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from backstay.errors import BackstayError
from backstay.transports.threads import on_thread

BOUND = 20.0
"""Seconds for one question to whatever keeps the locks."""


class LockHeld(BackstayError):
    """Somebody else holds a lock that is needed."""


class LockLost(BackstayError):
    """A lock was held and is not any more: nothing more may be changed."""


class Held:
    """Locks that are held. ``still`` asks whether they are."""

    def __init__(self, locks: Sequence[tuple[str, Any]]) -> None:
        self._locks = locks

    async def still(self) -> None:
        """Return if all locks are still ours. Raises LockLost."""
        for name, lock in self._locks:
            if not await on_thread(lambda lock=lock: _owned(lock), BOUND):  # type: ignore[misc]
                raise LockLost(
                    f"going on under the lock {name}",
                    came_back="the lock was lost: its keeper was out of reach for too long",
                    remedy="see who has it now and resume later: backstay runs list",
                )


@asynccontextmanager
async def held(url: str, names: Sequence[str], holder: Callable[[str], str]) -> AsyncIterator[Held]:
    """Hold all locks, or none: ``names`` are taken in their order, without waiting.

    They are renewed in the background. ``holder`` tells who had a lock last. Raises LockHeld
    naming the holder, and BackstayError where the keeper of the locks cannot be used.
    """
    coordinator = await on_thread(lambda: _started(url), BOUND)
    taken: list[tuple[str, Any]] = []
    try:
        for name in names:
            lock = await on_thread(lambda name=name: _lock(coordinator, name, url), BOUND)  # type: ignore[misc]
            if lock is None:
                raise LockHeld(
                    f"taking the lock of {name}",
                    came_back=f"it is held by {holder(name) or 'somebody unknown'}",
                    remedy="wait for that run to end (backstay runs list), or end that process "
                    "and then resume or abandon its run",
                )
            taken.append((name, lock))
        yield Held(taken)
    finally:
        # What cannot be let go now is let go by its time to live, or with this process.
        with contextlib.suppress(Exception):
            await on_thread(lambda: _let_go(coordinator, taken), BOUND)


def _started(url: str) -> Any:  # noqa: ANN401 - tooz is untyped here
    from tooz import ToozError, coordination  # noqa: PLC0415 - heavy

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
    except ModuleNotFoundError as error:
        raise _unusable(url, f"the Python package {error.name} is missing") from error
    except (ToozError, OSError, RuntimeError) as error:  # the last: no such driver
        raise _unusable(url, str(error)) from error
    return coordinator


def _lock(coordinator: Any, name: str, url: str) -> Any:  # noqa: ANN401 - as above
    from tooz import ToozError  # noqa: PLC0415 - heavy

    try:
        lock = coordinator.get_lock(f"backstay-{name.replace('/', '.')}".encode())
        return lock if lock.acquire(blocking=False) else None
    except (ToozError, OSError) as error:
        raise _unusable(url, str(error)) from error


def _owned(lock: Any) -> bool:  # noqa: ANN401 - as above
    if hasattr(lock, "is_still_owner"):
        return bool(lock.is_still_owner())
    return bool(lock.acquired)


def _let_go(coordinator: Any, taken: Sequence[tuple[str, Any]]) -> None:  # noqa: ANN401
    for _, lock in reversed(taken):
        lock.release()
    coordinator.stop()


def _unusable(url: str, came_back: str) -> BackstayError:
    place = url.partition("://")[0]
    return BackstayError(
        f"using the locks ({place})",
        came_back=" ".join(came_back.split())[:300],
        remedy="see that they can be reached, or name others in BACKSTAY_LOCKS",
    )
