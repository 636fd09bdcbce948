"""Bringing a host's files here: only what is new travels."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.errors import BackupError

MANIFEST = "manifest.json"
CONTENT = "content"
_ROOM = "check the free space on this machine: it needs as much as the host has"

Entry = Sequence[Any]
"""Path, kind (f, d, l), mode, owner, group, size, time of change in ns, target of a link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Which files must travel, and which of the mirror's are gone from the host."""

    fetch: tuple[str, ...]
    remove: tuple[str, ...]


def needed(entries: Sequence[Entry], known: Sequence[Entry]) -> Needed:
    """Compare a host's manifest with the last one. A file of the same size and time is the same."""
    before = {entry[0]: (entry[5], entry[6]) for entry in known if entry[1] == "f"}
    now = {entry[0]: (entry[5], entry[6]) for entry in entries if entry[1] == "f"}
    return Needed(
        fetch=tuple(path for path, entry in now.items() if before.get(path) != entry),
        remove=tuple(path for path in before if path not in now),
    )


class Mirror:
    """The files of one host as they were when they were last brought here.

    Contents lie under their paths; who owns them, and links, stand in the manifest alone, so that
    this needs no right that its user has not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / CONTENT

    def known(self) -> Sequence[Entry]:
        """Return the last manifest's entries whose contents are here; none at first."""
        try:
            read: Mapping[str, Any] = json.loads((self.folder / MANIFEST).read_text())
        except (OSError, ValueError):
            return ()
        return [
            entry
            for entry in read["entries"]
            if entry[1] != "f" or _size(self._file(entry[0])) == entry[5]
        ]

    def names(self) -> Mapping[str, Any]:
        """Return the names of owners by number, as the last manifest has them; none at first."""
        try:
            read: Mapping[str, Any] = json.loads((self.folder / MANIFEST).read_text())
        except (OSError, ValueError):
            return {}
        return {key: read[key] for key in ("users", "groups") if key in read}

    def forget(self, paths: Sequence[str]) -> None:
        """Remove what is gone from the host."""
        for path in paths:
            self._file(path).unlink(missing_ok=True)

    def has(self, entries: Sequence[Entry]) -> bool:
        """Return whether the content of every file is here, in the size that it had."""
        return all(_size(self._file(entry[0])) == entry[5] for entry in entries if entry[1] == "f")

    def note(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest when all that it names is here. Raises BackupError where not."""
        files = [entry for entry in manifest["entries"] if entry[1] == "f"]
        missing = [entry[0] for entry in files if not self._file(entry[0]).is_file()]
        if missing:
            raise BackupError(
                "bringing files here",
                came_back=f"{len(missing)} are missing: {', '.join(missing[:3])}",
                remedy="do they change all the time? Try again, or check the host's disk",
            )
        part = self.folder / f"{MANIFEST}.part"
        with _writing(part):
            part.write_text(json.dumps(manifest))
            part.rename(self.folder / MANIFEST)

    def export(self, texts: Mapping[str, str]) -> None:
        """Store what the host's programs printed, beside its files."""
        folder = self.folder / "exports"
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                (folder / name).write_text(text)

    async def extract(self) -> "Extraction":
        """Begin to take a tar archive."""
        self.content.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        process = await asyncio.create_subprocess_exec(
            "tar",
            "--extract",
            "--file=-",
            "--no-same-owner",
            "--no-same-permissions",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.content,
        )
        return Extraction(process)

    def _file(self, path: str) -> Path:
        return self.content / path.lstrip("/")


class Extraction:
    """A tar archive on its way into the mirror."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def take(self, data: bytes) -> None:
        """Take the next bytes."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            await self.end()

    async def end(self) -> None:
        """See that all was written. Raises BackupError."""
        _, errors = await self._process.communicate(b"")  # which also closes its input
        if self._process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise BackupError(
                "writing the host's files here",
                # The last of its words only say that there were others.
                came_back=lines[0] if lines else f"tar ended with {self._process.returncode}",
                remedy=_ROOM,
            )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"writing {path}", came_back=error.strerror or str(error), remedy=_ROOM
        ) from error


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1
