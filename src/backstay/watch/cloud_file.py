"""cloud.yaml while the watch runs: read again when it changes; while it is wrong the old holds."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.transports.threads import on_thread

PAUSE = 2.0
"""Seconds between two looks at the file."""
BOUND = 30.0


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
        try:
            cloud = await on_thread(lambda: self._load(self.path), BOUND)
        except (BackstayError, TimeoutError) as error:
            # Not marked as read: it may be being written, or the disk may come back.
            self.trouble = f"{error}; the previous configuration stays in use"
            return
        self._read = stamp
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


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows, as reading does
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
