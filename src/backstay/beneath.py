"""Files beneath a folder, by names that came from elsewhere: no name leads out of the folder.

A name from a host, an archive or a manifest becomes a file of this machine here and nowhere else.
Each component is opened from the descriptor of the folder before it, and none may be a link
(``openat`` with ``O_NOFOLLOW``, see openat(2)), so nothing can be exchanged between a check and its
use. What is read must be a regular file.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

LONGEST = 4095
"""Bytes of a whole name: PATH_MAX without its end."""
LONGEST_PART = 255
"""Bytes of one component: NAME_MAX of the usual file systems."""
DEEPEST = 200
"""Components of a name: folders are emptied with one descriptor open for each level."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that nobody writes to would be waited for without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN = 80


class UnsafeName(ValueError):
    """A name that is not the name of something beneath a folder; the text is short and clean."""


class NotAFile(OSError):
    """There is something, and it is not a regular file (a link, a folder, a device, a pipe)."""


def parts(name: str) -> tuple[str, ...]:
    """Return the components of a relative name such as ``etc/nova/nova.conf``.

    Bytes that are not UTF-8 stand in it as ``os.fsdecode`` has them. Raises UnsafeName for what is
    empty, absolute, too long or too deep, for NUL, and for components that are empty, ``.`` or
    ``..``.
    """
    found = tuple(name.split("/"))
    try:
        lengths = [len(os.fsencode(part)) for part in found]
    except UnicodeEncodeError:
        raise UnsafeName(f"{shown(name)} is not a name of a file") from None
    if "\0" in name or any(part in ("", ".", "..") for part in found):
        raise UnsafeName(f"{shown(name)} is not a name beneath a folder")
    if sum(lengths) + len(lengths) - 1 > LONGEST or max(lengths) > LONGEST_PART:
        raise UnsafeName(f"{shown(name)} is too long")
    if len(found) > DEEPEST:
        raise UnsafeName(f"{shown(name)} is too deep")
    return found


def inside(path: str) -> str:
    """Return the name beneath a folder of what has this absolute, normalised path on a host.

    ``/etc/nova`` is ``etc/nova``. Raises UnsafeName.
    """
    if not path.startswith("/"):
        raise UnsafeName(f"{shown(path)} is not an absolute path")
    return "/".join(parts(path[1:]))


def shown(name: str) -> str:
    """Return a name for a message: short, quoted, without control characters."""
    quoted = ascii(name[: _SHOWN + 1])
    return quoted if len(quoted) <= _SHOWN else f"{quoted[:_SHOWN]}..."


class Folder:
    """A folder that is held open, and what lies beneath it. A context manager.

    Names are relative (see ``parts``, whose UnsafeName every method raises). OSError is raised
    where the system refuses, also where a component is a link; the text of the error has no path
    but the name that was given.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over the descriptor of a folder."""
        self._top = descriptor
        # Files come folder by folder: the last one is likely to be asked for again.
        self._last: tuple[tuple[str, ...], int] | None = None

    @classmethod
    def open(cls, path: Path, *, make: bool = False) -> Self:
        """Open a folder of this machine by its own path, which comes from no host.

        With ``make`` it is made, for its owner alone, where it is not there. Raises OSError, also
        where ``path`` itself is a link.
        """
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
        return cls(os.open(path, _FOLDER))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; it cannot be used after that. May be called again."""
        self._forget_last()
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    def read(self, name: str) -> FileIO:
        """Open a regular file for reading; the caller closes it. Raises NotAFile, OSError."""
        folder, last = self._parent(parts(name))
        try:
            descriptor = os.open(last, _READ, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
                raise NotAFile(error.errno, "not a regular file", name) from None
            raise _about(name, error) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotAFile(errno.EINVAL, "not a regular file", name)
            return os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise

    def content(self, name: str, *, most: int) -> bytes:
        """Return the bytes of a regular file. Raises NotAFile, OSError; EFBIG above ``most``."""
        with self.read(name) as file:
            found = bytearray()
            while piece := file.read(min(1 << 20, most + 1 - len(found))):
                found += piece
                if len(found) > most:
                    raise OSError(errno.EFBIG, f"larger than {most} bytes", name)
        return bytes(found)

    def create(self, name: str, *, mode: int = 0o600) -> FileIO:
        """Make a new regular file and open it for writing; the caller closes it.

        Whatever has the name is removed before, and so is whatever stands where a folder of the
        name's must be; such folders are made. Raises OSError.
        """
        folder, last = self._parent(parts(name), make=True)
        for _ in range(3):
            try:
                return os.fdopen(os.open(last, _CREATE, mode, dir_fd=folder), "wb", buffering=0)
            except FileExistsError:
                self._remove(folder, last)
        raise FileExistsError(errno.EEXIST, "it comes again while it is replaced", name)

    def write(self, name: str, data: bytes, *, mode: int = 0o600) -> None:
        """Write a file, whole or not at all: what had the name before is replaced in one instant.

        Raises OSError, also where the name is a folder's.
        """
        found = parts(name)
        part = "/".join((*found[:-1], ".backstay.part"))
        try:
            with self.create(part, mode=mode) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            folder, last = self._parent(found)
            os.rename(".backstay.part", last, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            raise _about(name, error) from None

    def size(self, name: str) -> int | None:
        """Return the size of a regular file, None where there is none of that name."""
        try:
            status = self.status(name)
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def status(self, name: str) -> os.stat_result:
        """Return what lstat(2) says of it. Raises OSError, where it is not there."""
        folder, last = self._parent(parts(name))
        try:
            return os.stat(last, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise _about(name, error) from None

    def make(self, name: str) -> None:
        """Make a folder, and those that it is in, where they are not there. Raises OSError.

        What stands in the way and is not a folder is removed.
        """
        self._parent((*parts(name), ""), make=True)

    def unlink(self, name: str) -> bool:
        """Remove a file, or a link itself; return whether it was there.

        A component that is not there or not a folder means that it was not. Raises OSError, also
        where the name is a folder's.
        """
        try:
            folder, last = self._parent(parts(name))
            os.unlink(last, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise _about(name, error) from None
        return True

    def remove(self, name: str) -> None:
        """Remove whatever has the name, a folder with all that is in it; no link is followed.

        What is not there is passed over. Raises OSError.
        """
        try:
            folder, last = self._parent(parts(name))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return
            raise
        self._remove(folder, last)

    def names(self, name: str = "") -> list[str]:
        """Return the names in a folder, or in this one; sorted. Raises OSError."""
        if not name:
            return sorted(os.listdir(self._top))
        return sorted(os.listdir(self._parent((*parts(name), ""))[0]))

    def walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Give name and status (lstat) of all that lies beneath, folders before their contents.

        Raises OSError.
        """
        waiting = [""]
        while waiting:
            name = waiting.pop()
            for one in self.names(name):
                full = f"{name}/{one}" if name else one
                status = self.status(full)
                yield full, status
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(full)

    def _parent(self, found: tuple[str, ...], *, make: bool = False) -> tuple[int, str]:
        """Return a descriptor of the folder of a name, and the name's last component.

        The descriptor is this object's: it is closed when another folder is asked for.
        """
        *before, last = found
        above = tuple(before)
        if not above:
            return self._top, last
        if self._last is None or self._last[0] != above:
            opened = self._opened(above, make=make)
            self._forget_last()
            self._last = (above, opened)
        return self._last[1], last

    def _opened(self, above: tuple[str, ...], *, make: bool) -> int:
        current = os.dup(self._top)
        try:
            for name in above:
                deeper = _made(current, name) if make else os.open(name, _FOLDER, dir_fd=current)
                os.close(current)
                current = deeper
        except OSError as error:
            os.close(current)
            raise _about("/".join(above), error) from None
        return current

    def _remove(self, folder: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.EPERM):
                raise
            empty(folder, name)
            # The folder of the last name may have been beneath it.
            if self._last is not None and self._last[1] != folder:
                self._forget_last()

    def _forget_last(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None


def empty(folder: int, name: str) -> None:
    """Remove the folder of this name in an open folder, with all that is in it; follow no link.

    Raises OSError.
    """
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for one in os.listdir(inner):
            status = os.stat(one, dir_fd=inner, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                empty(inner, one)
            else:
                os.unlink(one, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _made(folder: int, name: str) -> int:
    """Open a folder in an open folder; make it where there is none."""
    for _ in range(3):
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode=0o700, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            os.unlink(name, dir_fd=folder)  # a file, or a link: the folder takes its place
    return os.open(name, _FOLDER, dir_fd=folder)


def _about(name: str, error: OSError) -> OSError:
    """Return an error of the same kind that names what it was asked for."""
    return type(error)(error.errno, error.strerror or str(error), name)
