"""Beginning a long command and following it to its end, whoever began it."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field

from backstay.answers import Count, Line, convert
from backstay.errors import BackstayError, HostUnreachable
from backstay.jsondata import Json
from backstay.provision import onhost
from backstay.provision.secrecy import without_values
from backstay.provision.work import Work, last_errors, last_line

T = TypeVar("T")

_PATIENCE = 3.0
"""Seconds between two words of progress."""
_ASK_BOUND = 45.0
_SILENT = 180.0
"""Seconds for which the host may not be reached; the command goes on without that."""
_TAIL = 60_000


_LARGEST_LOG = 256 << 20
"""Bytes of a log that are kept on this machine; all of it stays where it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandState:
    """What is known of a command, see ``onhost.state_of``; ``log`` is the path of its log there."""

    started: bool
    runs: bool
    status: int | None
    log: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece(CommandState):
    """The same with a piece of the log, and the offset (bytes) of its end."""

    text: Annotated[str, Field(max_length=onhost.PIECE)]
    end: Count


class Ask(Protocol):
    """Calls a function where the command runs, as root, and returns what it returns."""

    async def __call__(
        self, function: Callable[..., Any], *arguments: Json, returns: type[T], bound: float
    ) -> T:
        """Call it. Raises HostError, RemoteFailure where it returns something else."""


async def ask_here(
    function: Callable[..., Any], *arguments: Json, returns: type[T], bound: float
) -> T:
    """Call it on this machine: an ``Ask`` for what runs here."""
    async with asyncio.timeout(bound):
        return convert(returns, await asyncio.to_thread(function, *arguments))


class LongCommand:
    """One command that outlives this process, by the name of its unit.

    ``folder`` is where it is kept where it runs; ``log`` is the copy of its log on this machine.
    ``host`` is where it runs, in the operator's words.
    """

    def __init__(self, unit: str, ask: Ask, *, host: str, folder: str, log: Path) -> None:
        self.unit = unit
        self._ask = ask
        self.host = host
        self.folder = folder
        self.log = log

    async def begin(self, work: Work, *, bound: float) -> None:
        """Start it, or find that it was started; return at once. Raises HostError."""
        await self._ask(
            onhost.begin,
            self.unit,
            work.script,
            work.after,
            bound,
            self.folder,
            returns=CommandState,
            bound=_ASK_BOUND,
        )

    async def let_go(self) -> None:
        """Let it change things now, if it was started early: ``Work.waits``. Raises HostError."""
        await self._ask(
            onhost.let_go, self.unit, self.folder, returns=CommandState, bound=_ASK_BOUND
        )

    async def again(self) -> None:
        """Forget that it has failed, so that ``begin`` begins it again. Raises HostError."""
        await self._ask(
            onhost.again, self.unit, self.folder, returns=CommandState, bound=_ASK_BOUND
        )

    async def state(self) -> CommandState:
        """Return what is known of it. Raises HostError."""
        return await self._ask(
            onhost.state_of, self.unit, self.folder, returns=CommandState, bound=_ASK_BOUND
        )

    async def follow(self, work: Work, *, say: Callable[[str], None]) -> str:
        """Follow its log to its end, and return the log's last part.

        The whole log is kept in ``log``, without the work's secrets, and stays on the host. Raises
        BackstayError with the last errors where it fails, is killed, or cannot be reached for long.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        offset, tail, seen = self._kept(), "", time.monotonic()
        while True:
            try:
                news = await self._ask(
                    onhost.more,
                    self.unit,
                    self.folder,
                    offset,
                    _PATIENCE,
                    returns=LogPiece,
                    bound=_ASK_BOUND,
                )
            except HostUnreachable:
                if time.monotonic() - seen > _SILENT:
                    raise
                await asyncio.sleep(1)
                continue
            seen = time.monotonic()
            if news.text and news.end > offset:
                text = without_values(news.text, work.secrets)
                self._keep(text, news.end)
                offset, tail = news.end, (tail + text)[-_TAIL:]
                if line := last_line(text):
                    say(line)
            elif not news.runs:
                return self._ended(work, news, tail or self._end())

    def _ended(self, work: Work, news: CommandState, tail: str) -> str:
        if news.status is not None and news.status in work.good:
            return tail
        status = news.status
        how = f"it ended with {status}" if status is not None else "it was killed, or ran too long"
        raise BackstayError(
            f"{work.does} on {self.host}",
            came_back=f"{how}: {last_errors(tail, work.serious)}",
            remedy=f"read {self.log} (there: {news.log}), fix the cause, then resume the run "
            "with: backstay runs resume",
        )

    def _end(self) -> str:
        """Return the end of the log that is here: all of it may have come to an earlier run."""
        try:
            with self.log.open("rb") as data:
                data.seek(max(0, self.log.stat().st_size - _TAIL))
                return data.read(_TAIL).decode(errors="replace")
        except OSError:
            return ""

    def _kept(self) -> int:
        """Return up to where the log is here already."""
        try:
            return max(0, int(self.log.with_suffix(".read").read_text()))
        except (OSError, ValueError):
            return 0

    def _keep(self, text: str, end: int) -> None:
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as to:
            if to.tell() < _LARGEST_LOG:
                to.write(text)
        self.log.with_suffix(".read").write_text(str(end))
