"""The status of every target, and the feed of snapshots.

The watch loop publishes, the page and the metrics read: in one process and one event loop, so that
showing never asks the cloud anything and is as quick when all of it is down.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from backstay.finding import Finding
from backstay.watch.detect.probe import Subject


class State(StrEnum):
    """How a subject stands. ``UNKNOWN`` has not been seen yet, or cannot be asked."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"
    RECOVERING = "recovering"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """How one subject stands ``since`` a Unix time, and the evidence for the last change.

    ``seconds`` is the last answer's latency. ``recent`` are the last answers, oldest first: Unix
    time and latency in seconds, None where no good answer came.
    """

    subject: Subject
    state: State
    since: float
    evidence: str
    seconds: float | None = None
    recent: tuple[tuple[float, float | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Notifications about a host are silenced by a planned ``run`` until it has ended."""

    host: str
    run: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the watch knows at one moment (``at``, Unix time).

    ``leading`` is whether this process is the one that watches; ``leader`` names the one that
    does (``root@ops1, process 4711``). ``findings`` are the last whole check's, ``checked_at`` its
    time. ``problems`` are the watch's own: a journal that cannot be written, a channel that fails.
    """

    at: float
    cloud: str
    leading: bool
    leader: str
    targets: Mapping[str, TargetStatus] = field(default_factory=lambda: MappingProxyType({}))
    silences: tuple[Silence, ...] = ()
    findings: tuple[Finding, ...] = ()
    checked_at: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def worst(self) -> State:
        """Return how the cloud stands: as the worst of its parts that are not silenced."""
        silent = {one.host for one in self.silences}
        found = {s.state for s in self.targets.values() if s.subject.host not in silent}
        order = (State.DOWN, State.SUSPECT, State.RECOVERING, State.UNKNOWN)
        return next((one for one in order if one in found), State.UP if found else State.UNKNOWN)


class SnapshotFeed:
    """The newest snapshot, and a wake-up for those who wait for the next."""

    def __init__(self, cloud: str) -> None:
        self.snapshot = Snapshot(at=time.time(), cloud=cloud, leading=False, leader="")
        self._changed = asyncio.Condition()

    async def publish(self, snapshot: Snapshot) -> None:
        """Put a new snapshot up."""
        async with self._changed:
            self.snapshot = snapshot
            self._changed.notify_all()

    async def changes(self, *, bound: float) -> AsyncIterator[Snapshot]:
        """Give the snapshot of now and each newer one; the old again after ``bound`` seconds."""
        yield self.snapshot
        while True:
            try:
                async with asyncio.timeout(bound), self._changed:
                    await self._changed.wait()
            except TimeoutError:
                pass
            yield self.snapshot
