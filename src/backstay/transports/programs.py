"""Programs of this machine whose output is long."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from backstay.errors import BackupError

_CHUNK = 1 << 18


async def output_of(
    program: str, *arguments: str, folder: Path, doing: str
) -> AsyncIterator[bytes]:
    """Give what a program writes to its standard output, run in ``folder``.

    Raises BackupError with its last words where it fails; ``doing`` says what it is for.
    """
    process = await asyncio.create_subprocess_exec(
        program, *arguments, cwd=folder, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - both were asked for
    assert process.stderr is not None  # noqa: S101
    said = asyncio.ensure_future(process.stderr.read())
    try:
        while data := await process.stdout.read(_CHUNK):
            yield data
        if await process.wait() != 0:
            words = (await said).decode(errors="replace").strip().splitlines()
            raise BackupError(
                doing,
                came_back=words[-1] if words else f"{program} ended with {process.returncode}",
                remedy="is there room on this machine, and may this user read it?",
            )
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        said.cancel()
