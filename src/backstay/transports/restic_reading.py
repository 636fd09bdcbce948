"""What restic is here, and whether it can read a repository: nothing is made and nothing changed.

``cat config`` decrypts the repository's configuration, so that a wrong password shows; without a
cache and without a lock it writes nothing.
https://restic.readthedocs.io/en/stable/manual_rest.html
"""

import asyncio
import os
from pathlib import Path

from backstay.transports.program_output import tail
from backstay.transports.programs import kill_session


async def trouble(repository: str, password_file: Path, *, bound: float) -> str:
    """Return why a repository cannot be read, empty where it can. Raises FileNotFoundError.

    That is where this machine has no restic.
    """
    environment = os.environ | {
        "RESTIC_REPOSITORY": repository,
        "RESTIC_PASSWORD_FILE": str(password_file),
    }
    process = await asyncio.create_subprocess_exec(
        *("restic", "cat", "config", "--no-cache", "--no-lock"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stderr is not None  # noqa: S101 - it was asked for
    try:
        async with asyncio.timeout(bound):
            errors = await tail(process.stderr)
            status = await process.wait()
    except TimeoutError:
        return f"no answer within {bound:g} s"
    finally:
        await kill_session(process)
    if status == 0:
        return ""
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
    return lines[0] if lines else f"exit status {status}"
