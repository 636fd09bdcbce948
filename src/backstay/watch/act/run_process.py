"""A run that is carried out by a process of its own: it goes on whatever becomes of the watch."""

import asyncio
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from backstay.errors import BackstayError
from backstay.journal.records import RunRecord

_HOLDER = re.compile(r"@(.+), process (\d+)$")
_TAIL = 600


class RunProcess:
    """A process that carries out a run; ``log`` gets what it complains of."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def ended(self) -> bool:
        """Return whether it has ended."""
        return self._process.returncode is not None

    def complaint(self) -> str:
        """Return the last that it complained of, in one line."""
        try:
            text = self._log.read_text(errors="replace")
        except OSError:
            text = ""
        output = " ".join(text.split())[-_TAIL:]
        return output or f"it exited with {self._process.returncode} and wrote nothing"

    def forget(self) -> None:
        """Remove its log."""
        self._log.unlink(missing_ok=True)


async def start_process(command: Sequence[str], log: Path) -> RunProcess:
    """Begin a process in a session of its own. Raises BackstayError."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        into = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        into = os.open(os.devnull, os.O_WRONLY)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=into,
            start_new_session=True,
        )
    except OSError as error:
        raise BackstayError(
            f"starting {command[0]}",
            came_back=str(error.strerror),
            remedy="check that Backstay is still installed there, or restart the watch",
        ) from error
    finally:
        os.close(into)
    return RunProcess(process, log)


def alive(run: RunRecord) -> bool:
    """Return whether the process that carries out a run may live: another machine's always may."""
    who = _HOLDER.search(run.holder)
    if who is None or who.group(1) != socket.gethostname():
        return True
    try:
        os.kill(int(who.group(2)), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's, and there
        return True
    try:
        words = Path(f"/proc/{who.group(2)}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(b"backstay" in word for word in words)
