"""Replaying binary log files on a server of our own.

https://mariadb.com/kb/en/mariadb-binlog-options/. Its exit status is 0 where a file is torn, and
its ``--stop-datetime`` may stop in the middle of a change: how far each file goes is looked up
beforehand, and it is asked for that much.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backstay.backup.mariadb import INSTALL
from backstay.backup.mariadb.binlog_file import Reach, reach
from backstay.backup.mariadb.client import CLIENT
from backstay.errors import BackupError
from backstay.transports.namespaces import EMPTY
from backstay.transports.programs import failed, not_done, words
from backstay.transports.sandbox import Sandbox, sandbox

_DOING = "replaying the binary log"
# The log may hold statements on users, which a server without grants refuses. With the grants read
# only sessions that begin later are held to them.
_FIRST = b"SET sql_log_bin = 0;\nFLUSH PRIVILEGES;\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Up to where a log was replayed: ``position`` in ``file``.

    ``at`` is when the last change was committed, in UTC and whole seconds; None where there was no
    ``changes``. ``torn`` are the bytes at the end of the last file that were no whole change.
    """

    file: Path
    position: int
    at: datetime | None
    changes: int
    torn: int = 0

    def then(self, file: Path, found: Reach) -> "Replayed":
        """Return the same with one more file."""
        return Replayed(
            file=file,
            position=found.position,
            at=datetime.fromtimestamp(found.at, UTC) if found.at else self.at,
            changes=self.changes + found.changes,
            torn=found.torn,
        )


async def replay(
    box: Sandbox,
    socket: str,
    files: Sequence[Path],
    *,
    start: int,
    until: datetime | None,
    bound: float,
) -> Replayed:
    """Replay files on the server at ``socket`` in its sandbox, the first from ``start``.

    With ``until``, only changes that were committed before it; times in the log have whole seconds.
    What is no whole change at the end of a file is left out: its server died while writing it.
    ``bound`` is in seconds. Raises BackupError; what was replayed until then stays.
    """
    played = Replayed(file=files[0], position=start, at=None, changes=0)
    try:
        async with asyncio.timeout(bound), _statements(box, socket) as pipe:
            for number, file in enumerate(files):
                begin = start if number == 0 else 0
                found = await asyncio.to_thread(reach, file, begin, until)
                if found.changes:
                    await _decode(file, begin, found.position, pipe)
                played = played.then(file, found)
                if found.stopped:
                    break
    except TimeoutError:
        raise not_done(_DOING, f"it did not end within {bound:g} s") from None
    return played


@asynccontextmanager
async def _statements(box: Sandbox, socket: str) -> AsyncIterator[int]:
    """Give a pipe for statements to the server. Raises BackupError where one fails."""
    read, write = os.pipe()
    try:
        client = await box.start(
            *("mariadb", *CLIENT, f"--socket={socket}", "--batch"), stdin=read, remedy=INSTALL
        )
    except BackupError:
        os.close(write)
        raise
    finally:
        os.close(read)
    try:
        os.write(write, _FIRST)
        try:
            yield write
        except BackupError:
            # Where the client has ended, its reason is the reason.
            os.close(write)
            write = -1
            await client.end_well(_DOING)
            raise
        os.close(write)
        write = -1
        await client.end_well(_DOING)
    finally:
        if write >= 0:
            os.close(write)
        await client.kill()


async def _decode(file: Path, begin: int, end: int, pipe: int) -> None:
    """Write a part of a file as statements into the pipe. Raises BackupError.

    The program is given the file itself, not its name: it can open none.
    """
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise failed(_DOING, f"{file.name}: {error.strerror}") from error
    try:
        program = await sandbox().start(
            "mariadb-binlog",
            "--no-defaults",
            f"--plugin-dir={EMPTY}",
            "--disable-log-bin",
            "--verify-binlog-checksum",
            f"--start-position={max(begin, 4)}",
            f"--stop-position={end}",
            "-",
            stdin=opened,
            stdout=pipe,
            remedy=INSTALL,
        )
    finally:
        os.close(opened)
    try:
        status, errors = await program.wait(), await program.errors()
    finally:
        await program.kill()
    # Its exit status alone does not show it.
    if status != 0 or b"ERROR" in errors:
        raise failed(_DOING, f"{file.name}: {words(errors) or status}")
