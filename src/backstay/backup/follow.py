"""Following the files that change between backups, as images: what is new comes here at once.

The binary log tells of an image; its data are a file. Without the file a restore to the last moment
would bring back a record of nothing.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from backstay.backup import onhost
from backstay.backup.files import Entry, Mirror
from backstay.backup.logs import write
from backstay.errors import BackstayError, BackupError
from backstay.health.hostscript import program, stream
from backstay.health.observation import as_json
from backstay.transports.target import Answer, SshTarget

PAUSE = 2.0
"""Seconds between two looks at the host."""
QUIET = 1.0
"""Seconds for which a file must not have changed: one being written comes when it is whole."""
BOUND = 60.0
SILENCE = 120.0
_STATE = "state.json"


class Shell(Protocol):
    """The ways to a host (``transports.ssh``)."""

    async def answer(self, target: SshTarget, script: str, *, bound: float) -> Answer:
        """Run a script on a host. Raises HostError."""

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
class Followed:
    """What following tells of itself.

    ``whole_at`` is the last instant (Unix seconds) up to which every change of the files is here,
    None where that was never seen; ``error`` says why no look succeeds now.
    """

    whole_at: float | None = None
    error: str = ""

    def behind_for(self, now: float) -> float:
        """Return for how many seconds not all files are known to be here; 0 if none is followed."""
        return 0.0 if self.whole_at is None else max(now - self.whole_at, 0.0)


class Store:
    """The followed files of one host, in a folder. Files that went from the host stay here."""

    def __init__(self, folder: Path) -> None:
        self.mirror = Mirror(folder)

    def state(self) -> Followed:
        """Return what following told last."""
        try:
            return Followed(**json.loads((self.mirror.folder / _STATE).read_text()))
        except (OSError, ValueError, TypeError):
            return Followed()

    def tell(self, state: Followed) -> None:
        """Write it. Raises BackupError."""
        write(self.mirror.folder / _STATE, json.dumps(asdict(state)))

    def add(self, entries: Sequence[Entry], told: Mapping[str, Any]) -> None:
        """Note files that have come; ``told`` has the names of owners. Raises BackupError."""
        by_path = {entry[0]: entry for entry in [*self.mirror.known(), *entries]}
        names = self.mirror.names()
        self.mirror.note({
            "entries": sorted(by_path.values()),
            "users": {**names.get("users", {}), **told["users"]},
            "groups": {**names.get("groups", {}), **told["groups"]},
        })  # fmt: skip

    def drop_before(self, at: float) -> list[str]:
        """Remove what had not changed since ``at`` (Unix seconds): a verified backup has it."""
        known = self.mirror.known()
        old = [entry[0] for entry in known if entry[6] < at * 10**9]
        if old:
            names = self.mirror.names()
            self.mirror.note({**names, "entries": [e for e in known if e[0] not in old]})
            self.mirror.forget(old)
        return old


class Follow:
    """Follows the files of one host. ``known`` gives those that its last backup has brought."""

    def __init__(
        self,
        shell: Shell,
        target: SshTarget,
        store: Store,
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

    async def run(self) -> None:
        """Look again and again until cancelled; what fails is told, and tried again."""
        while True:
            try:
                state = Followed(whole_at=await self.look())
            except (BackstayError, OSError) as error:
                state = Followed(whole_at=self._store.state().whole_at, error=str(error))
            with contextlib.suppress(BackupError):
                self._store.tell(state)
            await asyncio.sleep(PAUSE)

    async def look(self) -> float | None:
        """Bring what is new; return up to when all is here (Unix seconds of this machine's clock).

        None where that was never so. Raises BackstayError.
        """
        asked_at = time.time()
        script = program(onhost.listing, *self._asked)
        told = as_json(
            await self._shell.answer(self._target, script, bound=BOUND), host=self._target.name
        )
        new, pending = news(told["entries"], [*self._known(), *self._store.mirror.known()],
                            before=told["clock"] - QUIET)  # fmt: skip
        if new:
            extraction = await self._store.mirror.extract()
            script = stream(onhost.send_files, [entry[0] for entry in new])
            await self._shell.stream(self._target, script, extraction.take, silence=SILENCE)
            await extraction.end()
            if not self._store.mirror.has(new):
                return self._store.state().whole_at  # they have changed again meanwhile
            self._store.add(new, told)
        if not pending:
            return asked_at
        oldest: float = min(entry[6] for entry in pending) / 10**9
        return asked_at - max(float(told["clock"]) - oldest, 0.0)


def news(
    entries: Sequence[Entry], known: Sequence[Entry], *, before: float
) -> tuple[list[Entry], list[Entry]]:
    """Return the files that are not known so, and those of them that must be waited for. Pure.

    ``before`` is when (Unix seconds by the host's clock) a file must have changed last to be whole.
    """
    here = {(entry[0], entry[5], entry[6]) for entry in known if entry[1] == "f"}
    new = [e for e in entries if e[1] == "f" and (e[0], e[5], e[6]) not in here]
    quiet = [entry for entry in new if entry[6] <= before * 10**9]
    return quiet, [entry for entry in new if entry not in quiet]
