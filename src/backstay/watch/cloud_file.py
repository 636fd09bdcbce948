"""cloud.yaml while the watch runs: read again when it changes; while it is wrong the old holds."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from backstay.answers import clean
from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.transports.threads import on_thread

PAUSE = 2.0
"""Seconds between two looks at the file."""
BOUND = 30.0
AGAIN = 30.0
"""Seconds until a file that was wrong and has not changed is read again: reading costs time."""


class CloudFile:
    """The cloud as its file describes it now. ``trouble`` is what is wrong with a newer file.

    Raises InventoryError where it cannot be read at the beginning.
    """

    def __init__(self, path: Path, load: Callable[[Path], Cloud]) -> None:
        self.path = path
        self.trouble = ""
        self._load = load
        self._read = _stamp(path)
        self.cloud = load(path)
        self._changed = asyncio.Event()
        self._wrong: tuple[int, int, int] | None = None
        self._again = 0.0

    async def another(self, than: Cloud) -> None:
        """Wait until the cloud is another than the one that is known."""
        while self.cloud is than:
            await self._changed.wait()

    async def run(self) -> None:
        """Look at the file forever."""
        while True:
            await asyncio.sleep(PAUSE)
            await self.reload_if_changed()

    async def reload_if_changed(self) -> None:
        """Read the file again if it has changed."""
        stamp = _stamp(self.path)
        if stamp == self._read:
            return
        if stamp == self._wrong and time.monotonic() < self._again:
            return
        try:
            cloud = await on_thread(lambda: self._load(self.path), BOUND)
        except Exception as error:  # whatever a file holds must not end the watch
            # Not marked as read: it may be being written, or the disk may come back.
            self._wrong, self._again = stamp, time.monotonic() + AGAIN
            self.trouble = f"{_why(error)}; the previous configuration stays in use"
            return
        self._read, self._wrong = stamp, None
        if cloud.name != self.cloud.name:
            self.trouble = (
                f"{self.path} describes {cloud.name} now, and not {self.cloud.name}: restart the "
                "watch"
            )
            return
        self.trouble = ""
        if cloud == self.cloud:
            return
        self.cloud = cloud
        self._changed.set()
        self._changed = asyncio.Event()


def _why(error: Exception) -> str:
    if isinstance(error, BackstayError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"it could not be read within {BOUND:g} s"
    return f"it cannot be used: {clean(repr(error), longest=200)}"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows, as reading does
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
