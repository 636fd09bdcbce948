"""Programs that read what a host sent, run where they can harm nothing: as a user of their own.

What a host sends may be made to take over the program that reads it. In a sandbox such a program
sees /usr, the folders that are given to it, and nothing else of this machine; no network, no other
process, no secret (``namespaces`` has how). Each folder belongs to a user of its own: whoever reads
a folder's files afterwards must expect links and pipes among them.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backstay import lacking
from backstay.answers import clean
from backstay.errors import BackupError
from backstay.transports import namespaces
from backstay.transports.namespaces import DATA, FIRST_USER, SETUP_FAILED, USERS
from backstay.transports.programs import INSTALL, failed, not_done, was_ended, words
from backstay.transports.sent import log_call

ANSWER_MOST = 16 << 20
"""Bytes that a program may answer."""
_ERRORS_MOST = 64 << 10
_KILLED = 10.0
_KILLED_FROM_OUTSIDE = (
    f"it was killed: it needed more than {namespaces.MEMORY >> 30} GB of memory, or than this "
    "machine has free (see `journalctl -k`), or its scope was stopped"
)
# What unshare(1) says, with status 1, where SIGKILL ended the program: it tries to end likewise.
_UNSHARE_LOST = "unshare: sigprocmask unblock failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A place for programs, and all that they may write to.

    Attributes:
        folders: where a folder is for the program, and where it is here: the first is ``DATA``.
        sockets: where a unix socket of this machine's is for the program, and where it is here.

    """

    user: int
    folders: Mapping[str, Path] = field(default_factory=dict)
    sockets: Mapping[str, Path] = field(default_factory=dict)

    async def start(
        self,
        program: str,
        *arguments: str,
        stdin: int,
        stdout: int = asyncio.subprocess.DEVNULL,
        remedy: str = INSTALL,
    ) -> "Program":
        """Start a program. ``stdin`` and ``stdout`` are as asyncio.subprocess has them.

        Its errors are always read. Raises BackupError where there is no such program, with
        ``remedy``; SandboxError where none can be made here.
        """
        await asyncio.to_thread(namespaces.require)
        command = self.command(program, *arguments, remedy=remedy)
        log_call("program in a sandbox", " ".join([program, *arguments[:1]]))
        return Program(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                env=namespaces.environment(),
                cwd="/",
                start_new_session=True,
            )
        )

    async def run(
        self,
        program: str,
        *arguments: str,
        doing: str,
        bound: float,
        given: str | bytes = b"",
        most: int = ANSWER_MOST,
        remedy: str = INSTALL,
    ) -> str:
        """Return a program's output. Raises BackupError with its last line.

        Also after ``bound`` seconds, or where it prints more than ``most`` bytes.
        """
        pipe = asyncio.subprocess.PIPE
        running = await self.start(program, *arguments, stdin=pipe, stdout=pipe, remedy=remedy)
        data = given.encode() if isinstance(given, str) else given
        try:
            async with asyncio.timeout(bound):
                giving = asyncio.ensure_future(running.give(data))
                try:
                    output = await running.output(doing, most)
                    await running.end_well(doing, output)
                finally:
                    giving.cancel()
        except TimeoutError:
            raise not_done(doing, f"it did not end within {bound:g} s") from None
        finally:
            await running.kill()
        return output.decode(errors="replace")

    def command(self, program: str, *arguments: str, remedy: str = INSTALL) -> list[str]:
        """Return the words that start a program in it. Raises BackupError where there is none."""
        path = shutil.which(program, path=namespaces.PATH)
        if path is None:
            raise BackupError(
                f"starting {program}",
                came_back="this machine has no such program below /usr",
                remedy=lacking.remedy(remedy),
            )
        return namespaces.command(
            path, *arguments, user=self.user, folders=self.folders, sockets=self.sockets
        )


class Program:
    """A program in a sandbox. What it prints as errors is read meanwhile, the last of it stays."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = bytearray()
        self._reading = asyncio.ensure_future(self._read_errors())

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """Return its input, a pipe."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        """Return its output, a pipe."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        return self._process.stdout

    @property
    def pid(self) -> int:
        """Return the process that everything in the sandbox ends with."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return its exit status, None while it runs."""
        return self._process.returncode

    async def give(self, data: bytes) -> None:
        """Write all of its input and close it; one that takes no more says why when it ends."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.stdin.write(data)
            await self.stdin.drain()
        self.stdin.close()

    async def output(self, doing: str, most: int = ANSWER_MOST) -> bytes:
        """Return all of its output. Raises BackupError where that is more than ``most`` bytes."""
        found = bytearray()
        while data := await self.stdout.read(1 << 18):
            found += data
            if len(found) > most:
                raise failed(doing, f"it answered more than {most} bytes")
        return bytes(found)

    async def errors(self) -> bytes:
        """Return the end of its errors, when it has closed them."""
        await asyncio.wait([self._reading])
        return bytes(self._errors)

    async def wait(self) -> int:
        """Wait until it has ended; return its exit status."""
        return await self._process.wait()

    async def end_well(self, doing: str, output: bytes = b"") -> None:
        """Close its input and wait. Raises BackupError where its exit status is not 0.

        With its last words, of its errors or else of the ``output`` that was read.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        status = await self.wait()
        if status != 0:
            last = clean(words(await self.errors()) or words(output[-_ERRORS_MOST:]))
            if status == SETUP_FAILED:
                raise namespaces.cannot(last)
            if status == -signal.SIGKILL or last.startswith(_UNSHARE_LOST):
                raise not_done(doing, _KILLED_FROM_OUTSIDE)
            if was_ended(status):
                raise not_done(doing, f"it was ended: {last or f'exit status {status}'}")
            raise failed(doing, last or f"exit status {status}")

    def terminate(self) -> None:
        """Ask the program, which is the first process of its sandbox, to end (SIGTERM)."""
        pid = self._process.pid
        with contextlib.suppress(OSError):
            inside = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in inside:
                os.kill(int(child), signal.SIGTERM)

    async def kill(self) -> None:
        """End it, and all that it has started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            with contextlib.suppress(TimeoutError):  # the kernel waits for a disk
                async with asyncio.timeout(_KILLED):
                    await self._process.wait()
        # With its last process its pipes have ended: what is left in them is small.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self._process.stdout is not None and await self._process.stdout.read(1 << 18):
                    pass
                await asyncio.wait([self._reading])
        self._reading.cancel()

    async def _read_errors(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - it was asked for
        while data := await stream.read(1 << 16):
            self._errors += data
            del self._errors[:-_ERRORS_MOST]


def sandbox(*folders: Path, sockets: Mapping[str, Path] | None = None) -> Sandbox:
    """Return a sandbox with folders, which are made where they are not there: the first is DATA.

    Others are at the root under their own names. They are given to its user; what is in them
    already is not. ``sockets`` are unix sockets, where each is for the program and where it is
    here: in a folder that is closed to others. Raises BackupError where they cannot be made.
    """
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        user = _user_of(folders)
        for folder in folders if os.geteuid() == 0 else ():
            os.chown(folder, user, user, follow_symlinks=False)
        for socket in (sockets or {}).values():
            socket.chmod(0o666)
    except OSError as error:
        raise BackupError(
            f"using {error.filename}",
            came_back=error.strerror or str(error),
            remedy="free space there, or let this user write there",
        ) from error
    names = [DATA, *(f"/{folder.name}" for folder in folders[1:])]
    return Sandbox(
        user=user,
        folders={name: folder.resolve() for name, folder in zip(names, folders, strict=False)},
        sockets=sockets or {},
    )


def _user_of(folders: Sequence[Path]) -> int:
    """Return the owner of the folders where that is a sandbox's, else an unused user."""
    for folder in folders:
        owner = folder.lstat().st_uid
        if FIRST_USER <= owner < FIRST_USER + USERS:
            return owner
    return namespaces.unused_user()
