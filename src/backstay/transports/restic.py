"""Backups in a restic repository: encrypted, deduplicated, on any storage that restic knows.

https://restic.readthedocs.io/en/stable/075_scripting.html; what is relied on here was tried with
restic 0.14: a producer that fails leaves a snapshot that looks whole unless restic is killed before
its input ends, and only ``check --read-data`` sees a flipped bit.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from backstay import lacking
from backstay.errors import BackupError
from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.program_output import OutputTooLong, tail, whole
from backstay.transports.programs import kill_session
from backstay.transports.restic_output import (
    Snapshot,
    cannot_lock,
    counts,
    error,
    has_none,
    local_path,
    marks,
    repository_id,
    snapshots,
    summary,
)

CHUNK = 1 << 18
QUICK = 120.0
"""Seconds for what reads or changes only a little of a repository."""
STALLED_HERE, STALLED_AFAR = 120.0, 1200.0
"""Seconds for which storing may make no progress: on a disk of this machine, or elsewhere.

Elsewhere restic itself tries again for 15 minutes. Restic 0.14 stands still for good where a pack
could not be written: it queues the next for uploads that have ended (``QueuePacker``), and does
not report the full disk.
"""
PACKS = 64 << 20
"""Bytes that restic may want at once: a few packs of 16 MiB."""

_NO_LOCK = "--no-lock"

Send = Callable[[bytes], Awaitable[None]]


class _CannotLock(BackupError):
    """It can be read, if at all, only without a lock."""


class Restic:
    """One repository. Every method raises BackupError.

    ``password_file`` is given to restic by name: the password is in no process list. ``cache`` is
    restic's own folder of metadata.
    """

    def __init__(self, repository: str, password_file: Path, cache: Path) -> None:
        self.repository = repository
        self._path = local_path(repository)
        self.stalled = STALLED_AFAR if self._path is None else STALLED_HERE
        self._environment = os.environ | {
            "RESTIC_REPOSITORY": repository,
            "RESTIC_PASSWORD_FILE": str(password_file),
            "RESTIC_CACHE_DIR": str(cache),
            "RESTIC_PROGRESS_FPS": "0.1",
        }

    async def identity(self) -> str | None:
        """Return the id that restic has given the repository; None where there is none.

        One that refuses, that does not answer or whose password is another is an error.
        """
        status, output, errors = await self._run(["cat", "config", _NO_LOCK], bound=QUICK)
        if status == 0:
            return repository_id(output)
        if has_none(self.repository, errors):
            self._refuse_rest()
            return None
        raise self._error("opening", errors)

    async def open(self) -> None:
        """Make the repository where there is none, and take away locks of processes that died.

        Whether there should be one already is known to the caller alone (``backup.repository``).
        """
        await (self.make() if await self.identity() is None else self.unlock())

    async def make(self) -> None:
        """Make the repository."""
        await self._ok(["init"], "making", bound=QUICK)

    async def unlock(self) -> None:
        """Take away locks of processes that died."""
        await self._ok(["unlock"], "unlocking", bound=QUICK)

    def _refuse_rest(self) -> None:
        """Raise BackupError where parts of a repository are left: it is no place for a new one."""
        with contextlib.suppress(OSError):
            if self._path and any((self._path / "snapshots").iterdir()):
                raise self._error("opening", "its file `config` is gone, and snapshots are there")

    @asynccontextmanager
    async def receiving(
        self, name: str, *, host: str, tags: Sequence[str]
    ) -> AsyncIterator[tuple[Send, dict[str, Snapshot]]]:
        """Give a function that takes the bytes of a file, ``name``, and where its snapshot is.

        The snapshot is under ``name`` when the block has ended. Where the block raises, restic is
        killed before it could store one.
        """
        arguments = ["backup", "--json", "--stdin", "--stdin-filename", name, *marks(host, tags)]
        process = await self._start(arguments, stdin=asyncio.subprocess.PIPE)
        output_read = asyncio.ensure_future(_both(process))
        stdin, found = process.stdin, dict[str, Snapshot]()
        assert stdin is not None  # noqa: S101 - it was asked for

        async def send(data: bytes) -> None:
            async with self._moving("storing"):
                try:
                    stdin.write(data)
                    await stdin.drain()
                except (BrokenPipeError, ConnectionResetError):
                    _, errors = await output_read
                    raise self._error("storing", errors) from None

        try:
            yield send, found
            stdin.close()
            async with self._moving("storing"):
                output, errors = await output_read
            if process.returncode != 0:
                raise self._error("storing", errors)
            found[name] = summary(output, host, tags)
        finally:
            await kill_session(process)
            output_read.cancel()

    async def backup(
        self, folder: Path, *, host: str, tags: Sequence[str], bound: float
    ) -> Snapshot:
        """Store all that is in ``folder``, under paths relative to it."""
        arguments = ["backup", "--json", "--ignore-inode", *marks(host, tags), "."]
        output = await self._ok(arguments, "storing in", bound=bound, folder=folder)
        return summary(output, host, tags)

    async def snapshots(self, *tags: str) -> list[Snapshot]:
        """Return the snapshots that have all of ``tags``, the oldest first."""
        wanted = ["--tag", ",".join(tags)] if tags else []
        output = await self._read(["snapshots", "--json", *wanted], "listing", bound=QUICK)
        return snapshots(output)

    async def dump(self, snapshot: str, name: str, receive: Send, *, silence: float) -> None:
        """Hand on the bytes of one file of a snapshot."""
        async with aclosing(self.content(snapshot, name, silence=silence)) as content:
            async for data in content:
                await receive(data)

    async def content(
        self, snapshot: str, name: str, *, silence: float
    ) -> AsyncGenerator[bytes, None]:
        """Give the bytes of one file of a snapshot; without a lock where none can be written."""
        given = False
        try:
            async with aclosing(self._content([snapshot, name], silence)) as data:
                async for some in data:
                    given = True
                    yield some
        except _CannotLock:
            if given:
                raise
            async with aclosing(self._content([_NO_LOCK, snapshot, name], silence)) as data:
                async for some in data:
                    yield some

    async def _content(
        self, arguments: Sequence[str], silence: float
    ) -> AsyncGenerator[bytes, None]:
        process = await self._start(["dump", *arguments], stdin=asyncio.subprocess.DEVNULL)
        stdout, stderr = process.stdout, process.stderr
        assert stdout is not None  # noqa: S101 - both were asked for
        assert stderr is not None  # noqa: S101
        errors_read = asyncio.ensure_future(tail(stderr))
        try:
            while True:
                async with asyncio.timeout(silence):
                    data = await stdout.read(CHUNK)
                if not data:
                    break
                yield data
            errors = (await errors_read).decode(errors="replace")
            # A wrong file can have the right size: the exit status is what is to be trusted.
            if await process.wait() != 0:
                if cannot_lock(errors):
                    told = self._error("reading", errors)
                    raise _CannotLock(told.attempted, came_back=told.came_back, remedy=told.remedy)
                raise self._error("reading", errors)
        except TimeoutError:
            raise self._error("reading", f"no output for {silence:g} s") from None
        finally:
            await kill_session(process)
            errors_read.cancel()

    async def restore(
        self, snapshot: str, target: Path, *, bound: float, only: Sequence[str] = ()
    ) -> None:
        """Write all files of a snapshot below ``target``, or ``only`` some (paths in it)."""
        chosen = [word for path in only for word in ("--include", path)]
        arguments = ["restore", snapshot, "--target", str(target), *chosen]
        await self._read(arguments, "restoring", bound=bound)

    async def check(self, *, read_data: bool, bound: float) -> None:
        """Check the repository's structure, with ``read_data`` every byte that it holds."""
        with contextlib.suppress(BackupError):  # where it cannot be written: it is read
            await self.unlock()
        await self._read(
            ["check", *(["--read-data"] if read_data else [])], "checking", bound=bound
        )

    async def forget(self, snapshots: Sequence[str], *, prune: bool, bound: float) -> None:
        """Forget snapshots, and take what nothing holds out of the repository if ``prune``.

        That is also what runs have left that were interrupted or found the repository full.
        """
        if snapshots:
            await self._alone(["forget", *snapshots], "pruning", bound)
        if prune:
            await self._alone(["prune"], "pruning", bound)

    async def _alone(self, arguments: Sequence[str], doing: str, bound: float) -> None:
        """Do what no other restic may be at work beside; one that was killed has left its lock."""
        await self.unlock()
        await self._ok(arguments, doing, bound=bound)

    async def _read(self, arguments: Sequence[str], doing: str, *, bound: float) -> str:
        """Do what only reads it; without a lock where none can be written."""
        status, output, errors = await self._run(arguments, bound=bound)
        if status != 0 and cannot_lock(errors):
            status, output, errors = await self._run([*arguments, _NO_LOCK], bound=bound)
        if status != 0:
            raise self._error(doing, errors or output)
        return output

    async def _ok(
        self, arguments: Sequence[str], doing: str, *, bound: float, folder: Path | None = None
    ) -> str:
        status, output, errors = await self._run(arguments, bound=bound, folder=folder)
        if status != 0:
            raise self._error(doing, errors or output)
        return output

    async def _run(
        self, arguments: Sequence[str], *, bound: float, folder: Path | None = None
    ) -> tuple[int, str, str]:
        """Run restic to its end; where it stores a ``folder``, it must make progress."""
        process = await self._start(arguments, stdin=asyncio.subprocess.DEVNULL, folder=folder)
        try:
            async with asyncio.timeout(bound):
                output, errors = await (
                    _both(process) if folder is None else self._followed(process)
                )
        except TimeoutError:
            raise self._error(arguments[0], f"it did not end within {bound:g} s") from None
        finally:
            await kill_session(process)
        return process.returncode or 0, output, errors

    async def _followed(self, process: asyncio.subprocess.Process) -> tuple[str, str]:
        """Return what it prints when it ends. Raises BackupError where it stands still."""
        stdout, stderr = process.stdout, process.stderr
        assert stdout is not None  # noqa: S101 - both were asked for
        assert stderr is not None  # noqa: S101
        errors_read = asyncio.ensure_future(tail(stderr))
        last, before = "", None
        try:
            async with self._moving("storing in") as limit:
                while line := await _line(stdout):
                    last = line.decode(errors="replace")
                    counted = counts(last)
                    if counted != before:
                        limit.reschedule(asyncio.get_running_loop().time() + self.stalled)
                    before = counted
                errors = await errors_read
                await process.wait()
        finally:
            errors_read.cancel()
        return last, errors.decode(errors="replace")

    @asynccontextmanager
    async def _moving(self, doing: str) -> AsyncIterator[asyncio.Timeout]:
        """Bound a block by the time for which there may be no progress. Raises BackupError."""
        try:
            async with asyncio.timeout(self.stalled) as limit:
                yield limit
        except TimeoutError:
            raise self._error(doing, self._stands_still()) from None

    def _stands_still(self) -> str:
        """Say that restic makes no progress; and that its disk is full, where it is."""
        output_read = f"it made no progress for {self.stalled:g} s"
        with contextlib.suppress(OSError):
            if self._path is not None:
                free = shutil.disk_usage(self._path).free
                if free < PACKS:
                    output_read += ", as where there is no space left on device"
                output_read += f": {size(free)} are free there"
        return output_read

    async def _start(
        self, arguments: Sequence[str], *, stdin: int, folder: Path | None = None
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                "restic",
                *arguments,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                cwd=folder,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise BackupError(
                "starting restic",
                came_back="this machine has no restic",
                remedy=lacking.remedy(
                    "apt-get install restic, on the machine that keeps the backups"
                ),
            ) from None

    def _error(self, doing: str, errors: str) -> BackupError:
        return error(doing, self.repository, errors)


async def _line(stdout: asyncio.StreamReader) -> bytes:
    """Return the next line, empty at the end; one that is too long for asyncio is no status."""
    try:
        return await stdout.readline()
    except ValueError:
        return b"\n"


async def _both(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Return what it prints, and the end of its errors. Raises BackupError where it has no end."""
    assert process.stdout is not None  # noqa: S101 - both were asked for
    assert process.stderr is not None  # noqa: S101
    try:
        output, errors = await asyncio.gather(whole(process.stdout), tail(process.stderr))
    except OutputTooLong:
        raise BackupError(
            "reading what restic prints",
            came_back=f"it is longer than {size(limits.OUTPUT)}",
            remedy="is this restic's own program? restic version",
        ) from None
    await process.wait()
    return output.decode(errors="replace"), errors.decode(errors="replace")
