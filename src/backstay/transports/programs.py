"""Programs of this machine, such as tar and a database's own, started and bounded.

Their last line of output goes into errors; no statement is ever among their arguments.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

from backstay import lacking
from backstay.errors import BackupError, DamagedBackup
from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.program_output import OutputTooLong, tail, whole
from backstay.transports.sent import log_call

KILLED = 10.0
"""Seconds for which a program that was killed is waited for."""
INSTALL = "install it on the machine that keeps the backups"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


async def run(
    program: str, *arguments: str, doing: str, bound: float, given: str = "", remedy: str = INSTALL
) -> str:
    """Return a program's output. Raises BackupError with its last line, or after ``bound`` s.

    ``remedy`` as ``start`` has it.
    """
    process = await start(program, *arguments, stdin=asyncio.subprocess.PIPE, remedy=remedy)
    try:
        async with asyncio.timeout(bound):
            output, errors = await _spoken(process, given.encode())
    except OutputTooLong:
        raise failed(doing, f"{program} printed more than {size(limits.OUTPUT)}") from None
    except TimeoutError:
        raise not_done(doing, f"it did not end within {bound:g} s") from None
    finally:
        await kill(process)
    if process.returncode != 0:
        raise _ended_badly(doing, process.returncode or 0, errors)
    return output.decode(errors="replace")


async def _spoken(process: asyncio.subprocess.Process, given: bytes) -> tuple[bytes, bytes]:
    """Give a program its input; return what it printed, and the end of its errors."""
    assert process.stdin is not None  # noqa: S101 - all three are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    reading = asyncio.gather(whole(process.stdout), tail(process.stderr))
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(given)
            await process.stdin.drain()
        process.stdin.close()
        output, errors = await reading
    finally:
        reading.cancel()
    await process.wait()
    return output, errors


async def start(
    program: str,
    *arguments: str,
    stdin: int,
    stdout: int | None = None,
    folder: Path | None = None,
    remedy: str = INSTALL,
) -> asyncio.subprocess.Process:
    """Start a program; with its input a pipe its output and errors are pipes too.

    ``stdout`` may name a file descriptor or a constant of asyncio.subprocess; its errors are then a
    pipe. It runs in ``folder``, or where this process does. Raises BackupError where there is no
    such program, with ``remedy``.
    """
    path = found(program)
    if path is None:
        raise BackupError(
            f"starting {program}",
            came_back="this machine has no such program",
            remedy=lacking.remedy(remedy),
        )
    log_call("program", " ".join([program, *arguments[:1]]))
    # A server that is left to itself has a log.
    usual = stdin if stdin == asyncio.subprocess.PIPE else asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        path,
        *arguments,
        stdin=stdin,
        stdout=usual if stdout is None else stdout,
        stderr=usual if stdout is None else asyncio.subprocess.PIPE,
        cwd=folder,
    )


async def end_well(process: asyncio.subprocess.Process, doing: str) -> None:
    """Close the program's input and wait. Raises BackupError where its exit status is not 0."""
    # communicate() alone leaves an input open that it was given nothing for.
    _, errors = await process.communicate(b"")
    if process.returncode != 0:
        raise _ended_badly(doing, process.returncode or 0, errors)


def _ended_badly(doing: str, status: int, errors: bytes) -> BackupError:
    said = words(errors) or f"exit status {status}"
    return not_done(doing, f"it was ended: {said}") if was_ended(status) else failed(doing, said)


async def kill(process: asyncio.subprocess.Process) -> None:
    """End the program where it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def kill_session(process: asyncio.subprocess.Process) -> None:
    """End a program that has a session of its own, and all that it has started.

    asyncio waits until no process has its pipes open, such as an ssh that it started.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # the kernel waits for a disk: it cannot be killed
            async with asyncio.timeout(KILLED):
                await process.wait()


def found(program: str) -> str | None:
    """Return where a program is, None where this machine has none of that name."""
    return shutil.which(program, path=_PATH)


def words(errors: bytes) -> str:
    """Return the last line of a program's standard error."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def failed(doing: str, came_back: str) -> BackupError:
    """Return the error for a backup that cannot be proved or restored.

    Where what came back is that this machine lacks something, it says nothing of the backup.
    """
    if _LACKING.search(came_back):
        return not_done(doing, came_back)
    return DamagedBackup(
        doing,
        came_back=came_back,
        remedy="do not rely on this backup: take another, and verify that",
    )


def not_done(doing: str, came_back: str) -> BackupError:
    """Return the error for what could not be done on this machine: no evidence on a backup."""
    return BackupError(
        doing,
        came_back=came_back,
        remedy="this is about the machine that keeps the backups, not about the backup: see its "
        "free space, memory and load, then try again",
    )


def was_ended(status: int) -> bool:
    """Return whether a program was ended by others, as by the kernel that is out of memory."""
    return -status in _ENDED or status - 128 in _ENDED


_ENDED = {signal.SIGKILL, signal.SIGTERM, signal.SIGXFSZ, signal.SIGXCPU}
_LACKING = re.compile(
    r"no space left|disk (is )?full|quota exceeded|file too large|cannot allocate|out of memory"
    r"|(errno|errcode|error number|errno:|errcode:) *(5|12|23|24|27|28|30|122)\b"
    r"|too many open files|read-only file system|input/output error|permission denied"
    r"|resource temporarily unavailable|cannot fork|stale file handle",
    re.IGNORECASE,
)
"""Words of programs, and of MariaDB's servers, by which this machine is at fault."""
