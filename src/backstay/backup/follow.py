"""Following the files that change between backups, such as images: new ones are fetched at once.

The binary log has the record of an image; its data are a file. Without the file, a restore to the
last moment would bring back a record without data.
"""

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from backstay.access.shipping import stream
from backstay.answers import BadAnswer, Seconds, read
from backstay.backup import onhost
from backstay.backup.files import Mirror
from backstay.backup.manifest import (
    MOST_BYTES,
    Entry,
    Files,
    Manifest,
    merged,
    of_line,
    quoted,
)
from backstay.backup.mariadb.logs import write
from backstay.errors import BackstayError, BackupError, RemoteFailure
from backstay.transports.targets import SshTarget

PAUSE = 0.25
"""Seconds between two listings of its files on the host."""
PULSE = 1.0
"""Seconds between two writes of the state."""
QUIET = 0.25
"""Seconds for which a small file must not have changed: one being written is waited for."""
BROUGHT = 100e6
"""Bytes that are brought in a second, about."""
AGAIN = 2.0
"""Seconds after which following is started again where it was interrupted."""
SILENCE = 60.0
_STATE = "state.json"


class Shell(Protocol):
    """The ways to a host (``transports.ssh``)."""

    async def stream(
        self,
        target: SshTarget,
        script: str,
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
    ) -> str:
        """Run a script and hand on what it writes. Raises HostError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowState:
    """The state of following.

    ``whole_at`` is the last instant (Unix seconds) up to which every change of the files is here,
    None where that was never seen; ``error`` is why listing fails now.
    """

    whole_at: Seconds | None = None
    error: str = ""

    def behind_for(self, now: float) -> float:
        """Return for how many seconds not all files are known to be here; 0 if none is followed."""
        return 0.0 if self.whole_at is None else max(now - self.whole_at, 0.0)


class FollowedFiles:
    """The followed files of one host, in a folder. Files that went from the host stay here."""

    def __init__(self, folder: Path) -> None:
        self.mirror = Mirror(folder)

    def state(self) -> FollowState:
        """Return the state as it was written last. Raises BackupError where it is damaged."""
        file = self.mirror.folder / _STATE
        try:
            return read(FollowState, file.read_bytes())
        except FileNotFoundError:
            return FollowState()
        except (OSError, BadAnswer) as error:
            raise BackupError(
                f"reading {file}",
                came_back=f"it is not the state of following files: {error}",
                remedy="remove it; a running stream writes it again within seconds",
            ) from error

    def write_state(self, state: FollowState) -> None:
        """Write it. Raises BackupError."""
        write(self.mirror.folder / _STATE, json.dumps(asdict(state)))

    def add(self, entries: Sequence[Entry], listed: Files) -> None:
        """Record files that arrived; ``listed`` has the names of owners. Raises BackupError."""
        names = self.mirror.names()
        self.mirror.note(
            Manifest(
                entries=merged(self.mirror.known(), entries),
                users={**names.users, **listed.users},
                groups={**names.groups, **listed.groups},
            )
        )

    def before(self, at: float) -> list[str]:
        """Return what has not changed since ``at`` (Unix seconds)."""
        return [entry.path for entry in self.mirror.known() if entry.when < at * 10**9]

    def drop_before(self, at: float) -> list[str]:
        """Remove what had not changed since ``at`` (Unix seconds): a verified backup has it."""
        known, old = self.mirror.known(), set(self.before(at))
        if old:
            names = self.mirror.names()
            left = [entry for entry in known if entry.path not in old]
            self.mirror.note(Manifest(entries=left, users=names.users, groups=names.groups))
            self.mirror.forget(sorted(old))
        return sorted(old)


class Lines:
    """Lines of a stream as they arrive, each of at most ``most`` bytes."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in ``data``, without their ends. Raises ValueError."""
        *ends, left = data.split(b"\n")
        lines = []
        for piece in ends:
            self._keep(piece)
            lines.append(b"".join(self._parts))
            self._parts, self._length = [], 0
        self._keep(left)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._parts.append(piece)
        self._length += len(piece)
        if self._length > self._most:
            raise ValueError(f"a line of more than {self._most} bytes")


class Follow:
    """Follows the files of one host. ``known`` gives those that its last backup has brought."""

    def __init__(
        self,
        shell: Shell,
        target: SshTarget,
        store: FollowedFiles,
        *,
        paths: Sequence[str],
        leave_out: Sequence[str],
        known: Callable[[], Sequence[Entry]],
    ) -> None:
        self._shell = shell
        self._target = target
        self._store = store
        self._asked = (list(paths), list(leave_out))
        self._known = known
        self._listed = Manifest()
        self._left = False
        self._reported_at = 0.0

    async def run(self) -> None:
        """Follow until cancelled; failures are reported in the state, and tried again."""
        while True:
            try:
                await self._watch()
            except (BackstayError, OSError) as error:
                known = FollowState()
                with contextlib.suppress(BackupError):  # damaged: it is written anew
                    known = self._store.state()
                with contextlib.suppress(BackupError):
                    self._store.write_state(FollowState(whole_at=known.whole_at, error=str(error)))
            await asyncio.sleep(AGAIN)

    async def _watch(self) -> None:
        """Read the host's listings of its files until it ends. Raises BackstayError."""
        lines, offset = Lines(most=MOST_BYTES), math.inf

        async def receive(data: bytes) -> None:
            nonlocal offset
            try:
                whole_lines = lines.feed(data)
            except ValueError as error:
                raise RemoteFailure(
                    f"following the files of {self._target.name}",
                    came_back=str(error),
                    remedy=f"see whether {self._target.name} is what it was",
                ) from None
            for line in whole_lines:
                listed = of_line(line, host=self._target.name, below=self._asked[0])
                clock = listed.clock if isinstance(listed, Manifest) else listed
                # The fastest line shows how far the clocks are apart.
                offset = min(offset, time.time() - clock)
                whole = await self.heard(listed)
                self._report(None if whole is None else whole + offset)

        script = stream(onhost.watch, *self._asked, PAUSE)
        await self._shell.stream(self._target, script, receive, silence=SILENCE)

    def _report(self, whole_at: float | None) -> None:
        if time.monotonic() - self._reported_at >= PULSE:
            self._reported_at = time.monotonic()
            self._store.write_state(FollowState(whole_at=whole_at))

    async def heard(self, listed: Manifest | float) -> float | None:
        """Fetch what is new of the files in the host's listing, or in its last one.

        Only the host's clock, in seconds, where nothing has changed since that. Returns up to when
        all is here, by this clock; None where that is not known. Raises BackstayError.
        """
        if isinstance(listed, Manifest):
            self._listed, clock = listed, listed.clock
        else:
            clock = listed
            if not self._left:
                return clock
        known = [*self._known(), *self._store.mirror.known()]
        new, pending = news(self._listed.entries, known, clock=clock)
        self._left = True
        if new:
            await self._fetch(new)
            if not self._store.mirror.has(new):
                return None  # they have changed again meanwhile, and are listed again
            self._store.add(new, self._listed)
        self._left = bool(pending)
        return min([clock, *(entry.when / 10**9 for entry in pending)])

    async def _fetch(self, new: Sequence[Entry]) -> None:
        script = stream(onhost.send_files, [quoted(entry.path) for entry in new], self._asked[0])
        extracting = self._store.mirror.extracting(new, host=self._target.name)
        async with extracting as take:
            await self._shell.stream(self._target, script, take, silence=SILENCE)


def news(
    entries: Sequence[Entry], known: Sequence[Entry], *, clock: float
) -> tuple[list[Entry], list[Entry]]:
    """Return the files that are not known so, and those of them that are waited for. Pure.

    Of those that change just now, by the host's ``clock``, some more is to come: a file must have
    rested for about as long as bringing it takes.
    """
    here = {(entry.path, entry.size, entry.when) for entry in known if entry.kind == "f"}
    new = [e for e in entries if e.kind == "f" and (e.path, e.size, e.when) not in here]
    rests = [e for e in new if clock - e.when / 10**9 >= QUIET + e.size / BROUGHT]
    return rests, [entry for entry in new if entry not in rests]
