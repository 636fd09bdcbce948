"""A host's tar archive, unpacked while it arrives: only the files that were asked for.

A host that was taken over may send any archive. So none is given to tar(1), which makes links,
devices and folders as the archive says: only headers are read here (by Python's ``tarfile``), every
member must be a regular file of the list that was asked for, each at most once, and is written
beneath the folder's descriptor for its owner alone (``beneath``). What is held in memory is at most
a header and a piece; what is written at most the sizes in the host's list.

This needs no sandbox: nothing of the host's is decoded but these headers, by a language that checks
its bounds, and a program of another user would leave files that still had to be moved and checked
one by one, 0.2 s later for every image that a stream brings.

https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13
"""

import os
import tarfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from backstay.backup.manifest import Entry
from backstay.beneath import Folder, shown

if TYPE_CHECKING:
    from io import FileIO

BLOCK = 512
MOST_NAME = 8 << 10
"""Bytes of a long name, which GNU tar puts before its member."""
MOST_HEADERS = 64 << 10
"""Bytes of the extended headers of a member."""
MOST_PADDING = 1 << 20
"""Zeros after the last member: tar fills its last record with them."""
SLACK = 1 << 30
"""Bytes that are read and dropped of files that have grown since they were listed."""


class UnexpectedArchive(ValueError):
    """The archive is not the one that was asked for; the text is short and clean."""


class Unpacking:
    """An archive on its way into a folder. ``entries`` are the files that were asked for.

    A file whose size is no more the one in its entry is not written, except, with ``grown``, one
    that has become longer: of it so much is written as was listed.
    """

    def __init__(self, folder: Folder, entries: Iterable[Entry], *, grown: bool = False) -> None:
        self._folder = folder
        self._awaited = {entry.inside: entry.size for entry in entries}
        self._grown = grown
        self._slack = SLACK + sum(self._awaited.values())
        self._rest = bytearray()
        """The beginning of a header, or of what belongs to one."""
        self._extended: tuple[bytes, int] | None = None
        """The type of what belongs to the next header, and its bytes."""
        self._name, self._size = "", -1
        """What extended headers say of the next member."""
        self._file: FileIO | None = None
        self._write = self._skip = 0
        """Bytes of the member that are still to be written, and after them to be passed over."""
        self._zeros = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises UnexpectedArchive, OSError."""
        view = memoryview(data)
        while view:
            within = self._write or self._skip
            view = self._content(view) if within else self._headers(view)

    def end(self) -> None:
        """See that the archive is whole. Raises UnexpectedArchive."""
        self.close()
        if self._write or self._skip or self._rest or self._extended or not self._zeros:
            raise UnexpectedArchive("it ends within")

    def close(self) -> None:
        """Close the file that is being written, if any."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _content(self, view: memoryview) -> memoryview:
        if self._write:
            assert self._file is not None  # noqa: S101 - opened with the member
            written = self._file.write(view[: self._write])
            self._write -= written
            if not self._write:
                self.close()
            return view[written:]
        passed = min(self._skip, len(view))
        self._skip -= passed
        return view[passed:]

    def _headers(self, view: memoryview) -> memoryview:
        """Take a header, or what belongs to one, as far as it has come."""
        wanted = BLOCK if self._extended is None else _padded(self._extended[1])
        taken = wanted - len(self._rest)
        self._rest += view[:taken]
        if len(self._rest) == wanted:
            block = bytes(self._rest)
            self._rest.clear()
            if self._extended is None:
                self._header(block)
            else:
                kind, length = self._extended
                self._extended = None
                self._extend(kind, block[:length])
        return view[taken:]

    def _header(self, block: bytes) -> None:
        if not any(block):
            self._zeros += BLOCK
            if self._zeros > MOST_PADDING:
                raise UnexpectedArchive("it does not end")
            return
        if self._zeros:
            raise UnexpectedArchive("something follows its end")
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError, OverflowError) as error:
            raise UnexpectedArchive(f"it is not one of tar ({error})") from None
        if member.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
            most = MOST_NAME if member.type == tarfile.GNUTYPE_LONGNAME else MOST_HEADERS
            if not 0 < member.size <= most or self._name or self._size >= 0:
                raise UnexpectedArchive("a header of a size that none has")
            self._extended = (member.type, member.size)
            return
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise UnexpectedArchive(f"{shown(member.name)} is no regular file")
        name = self._name or member.name
        size = self._size if self._size >= 0 else member.size
        self._name, self._size = "", -1
        self._member(name, size)

    def _extend(self, kind: bytes, data: bytes) -> None:
        """Read what an extended header says of the next member."""
        if kind == tarfile.GNUTYPE_LONGNAME:
            self._name = data.removesuffix(b"\0").decode(errors="surrogateescape")
            return
        found = _records(data)
        if any(key.startswith("GNU.sparse") for key in found):
            raise UnexpectedArchive("a sparse file, which was not asked for")
        self._name = found.get("path", b"").decode(errors="surrogateescape")
        size = found.get("size", b"")
        if size:
            if not size.isdigit() or len(size) > 19:
                raise UnexpectedArchive("a size that is no number")
            self._size = int(size)

    def _member(self, name: str, size: int) -> None:
        """Begin to take a member, which must be one that is awaited."""
        listed = self._awaited.pop(name, None)
        if listed is None:
            raise UnexpectedArchive(f"{shown(name)} was not asked for, or comes twice")
        if size < 0:
            raise UnexpectedArchive(f"{shown(name)} has no possible size")
        take = size == listed or (self._grown and size > listed)
        self._write = listed if take else 0
        self._skip = _padded(size) - self._write
        self._slack -= max(self._skip - BLOCK, 0)
        if self._slack < 0:
            raise UnexpectedArchive(f"{shown(name)} is far larger than it was")
        if take:
            self._file = self._folder.create(name)
            if not self._write:
                self.close()


def _records(data: bytes) -> dict[str, bytes]:
    """Return the records of an extended header: ``LENGTH KEY=VALUE`` and a line feed, each."""
    found, at = {}, 0
    while at < len(data):
        digits, space, _ = data[at : at + 8].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or len(record) != length or record[-1:] != b"\n":
            raise UnexpectedArchive("extended headers that are none")
        found[os.fsdecode(key)] = value
        at += length
    return found


def _padded(length: int) -> int:
    """Return the bytes that so many take in an archive."""
    return -(-length // BLOCK) * BLOCK
