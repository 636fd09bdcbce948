"""Bringing a host's files here: only what is new travels."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from backstay.backup.manifest import MANIFEST, MOST_BYTES, Entry, Files, Manifest, of_backup
from backstay.backup.unpack import UnexpectedArchive, Unpacking
from backstay.beneath import Folder, UnsafeName
from backstay.errors import BackupError, RemoteFailure

CONTENT = "content"
EXPORTS = "exports"
_ROOM = "check the free space on this machine: it needs as much as the host has"
Take = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Which files must travel, and which of the mirror's are gone from the host."""

    fetch: tuple[str, ...]
    remove: tuple[str, ...]


def needed(entries: Sequence[Entry], known: Sequence[Entry]) -> Needed:
    """Compare a host's manifest with the last one. A file of the same size and time is the same."""
    before = {entry.path: (entry.size, entry.when) for entry in known if entry.kind == "f"}
    now = {entry.path: (entry.size, entry.when) for entry in entries if entry.kind == "f"}
    return Needed(
        fetch=tuple(path for path, entry in now.items() if before.get(path) != entry),
        remove=tuple(path for path in before if path not in now),
    )


class Mirror:
    """The files of one host as they were when they were last brought here.

    Contents lie under their paths; who owns them, and links, stand in the manifest alone, so that
    this needs no right that its user has not. Nothing but files and folders is made here, and what
    else is found is not followed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / CONTENT
        # Reading takes long, and whoever follows a host's files asks all the time.
        self._last: tuple[tuple[int, int, int], Manifest] | None = None

    def manifest(self) -> Manifest:
        """Return the last manifest; an empty one at first, and where it cannot be read."""
        try:
            with Folder.open(self.folder) as opened:
                status = opened.status(MANIFEST)
                version = (status.st_ino, status.st_size, status.st_mtime_ns)
                if self._last is None or self._last[0] != version:
                    text = opened.content(MANIFEST, most=MOST_BYTES)
                    self._last = (version, of_backup(text, backup=str(self.folder)))
            return self._last[1]
        except (OSError, BackupError):
            return Manifest()

    def known(self) -> list[Entry]:
        """Return the last manifest's entries whose contents are here; none at first."""
        entries = self.manifest().entries
        missing = {entry.path for entry in self.missing(entries)}
        return [entry for entry in entries if entry.path not in missing]

    def names(self) -> Files:
        """Return the names of owners by number, as the last manifest has them; no entries."""
        last = self.manifest()
        return Files(users=last.users, groups=last.groups)

    def forget(self, paths: Sequence[str]) -> None:
        """Remove what is gone from the host. ``paths`` are of entries. Raises BackupError."""
        with self._opened() as content:
            for path in paths:
                with contextlib.suppress(UnsafeName):
                    content.unlink(path.removeprefix("/"))

    def missing(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the files of which the content is not here, or not of their size."""
        files = [entry for entry in entries if entry.kind == "f"]
        try:
            opened = Folder.open(self.content)
        except OSError:
            return files
        with opened as content:
            return [entry for entry in files if content.size(entry.inside) != entry.size]

    def has(self, entries: Sequence[Entry]) -> bool:
        """Return whether the content of every file is here, in the size that it had."""
        return not self.missing(entries)

    def note(self, manifest: Manifest) -> None:
        """Write the manifest when all that it names is here. Raises BackupError where not."""
        missing = self.missing(manifest.entries)
        if missing:
            raise BackupError(
                "bringing files here",
                came_back=f"{len(missing)} are missing or have another size: "
                + ", ".join(ascii(entry.path)[1:-1] for entry in missing[:3]),
                remedy="do they change all the time? Try again, or check the host's disk",
            )
        text = json.dumps(manifest.document()).encode()
        with _writing(self.folder / MANIFEST), Folder.open(self.folder, make=True) as folder:
            folder.write(MANIFEST, text)

    def export(self, texts: Mapping[str, bytes]) -> None:
        """Store what the host's programs printed, beside its files, and nothing else there.

        ``texts`` are those of ``exported``. Raises BackupError.
        """
        with (
            _writing(self.folder / EXPORTS),
            Folder.open(self.folder, make=True) as beside,
        ):
            beside.make(EXPORTS)
            with Folder.open(self.folder / EXPORTS) as folder:
                for name in set(folder.names()) - texts.keys():
                    folder.remove(name)
                for name, text in texts.items():
                    folder.write(name, text)

    @contextlib.asynccontextmanager
    async def extracting(
        self, entries: Sequence[Entry], *, host: str, grown: bool = False
    ) -> AsyncIterator[Take]:
        """Give what takes the bytes of an archive that ``host`` sends of these files.

        ``grown`` as ``Unpacking`` has it. Raises RemoteFailure where it sends anything else,
        BackupError where it cannot be written.
        """
        with _writing(self.content):
            opened = Folder.open(self.content, make=True)
            self.folder.chmod(0o700)
        with opened as content:
            extraction = _Extraction(Unpacking(content, entries, grown=grown), host, self.content)
            try:
                yield extraction.take
                await extraction.end()
            finally:
                await extraction.close()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Folder]:
        with _writing(self.content), Folder.open(self.content, make=True) as content:
            yield content


class _Extraction:
    """A tar archive on its way into the mirror: one piece is written while the next arrives."""

    def __init__(self, unpacking: Unpacking, host: str, folder: Path) -> None:
        self._unpacking = unpacking
        self._host = host
        self._folder = folder
        self._under_way: asyncio.Future[None] | None = None

    async def take(self, data: bytes) -> None:
        """Take the next bytes."""
        await self._settle()
        self._under_way = asyncio.get_running_loop().run_in_executor(
            None, self._unpacking.feed, data
        )

    async def end(self) -> None:
        """See that all was written and the archive is whole."""
        await self._settle()
        with self._explained():
            self._unpacking.end()

    async def close(self) -> None:
        """Wait until nothing is written any more, however it ends."""
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
            self._under_way.exception()  # else it is reported as never retrieved
        self._unpacking.close()

    async def _settle(self) -> None:
        if self._under_way is not None:
            with self._explained():
                await asyncio.shield(self._under_way)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with _writing(self._folder):
            try:
                yield
            except UnexpectedArchive as error:
                raise RemoteFailure(
                    f"unpacking the files of {self._host}",
                    came_back=f"not the archive that was asked for: {error}",
                    remedy="nothing outside of its own copy was written; existing backups are "
                    f"unchanged. See whether {self._host} is what it was",
                ) from error


def exported(host: str, asked: Sequence[str], answer: Mapping[str, str]) -> dict[str, bytes]:
    """Return what a host's programs printed, by the names that were asked for. Pure.

    ``answer`` is that of ``onhost.exported``. Raises RemoteFailure where it has other names.
    """
    if set(answer) != set(asked):
        others = sorted(set(answer) ^ set(asked))
        raise RemoteFailure(
            f"reading what programs of {host} export",
            came_back=f"not what was asked for: {', '.join(ascii(one)[:80] for one in others[:3])}",
            remedy=f"nothing of it was used. See whether {host} is what it was",
        )
    return {name: unquote_to_bytes(text) for name, text in answer.items()}


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"writing {path}", came_back=error.strerror or str(error), remedy=_ROOM
        ) from error
