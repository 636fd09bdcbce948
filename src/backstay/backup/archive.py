"""Files of a backup as a tar archive that is made while it is sent."""

import asyncio
import os
import struct
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from backstay.backup.files import CONTENT
from backstay.backup.manifest import Entry, Files
from backstay.backup.mariadb import NOT_DATA
from backstay.backup.mariadb.onhost_database import squeezer
from backstay.beneath import Folder
from backstay.transports.namespaces import DATA
from backstay.transports.programs import failed
from backstay.transports.sandbox import sandbox

_CHUNK = 1 << 18
_PIECE = 1 << 20


async def files(folder: Path, wanted: Files, entries: Sequence[Entry]) -> AsyncIterator[bytes]:
    """Give an archive of files and links; ``folder`` holds their contents, restored.

    Owners stand in it by name, so that a host with other numbers gives them to the right users.
    Raises OSError where a file cannot be read, also where its content is not a regular file or lies
    beyond a link.
    """
    reads, writes = os.pipe()
    writing = asyncio.ensure_future(asyncio.to_thread(_write, writes, folder, wanted, entries))
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(loop=loop)
    with os.fdopen(reads, "rb", buffering=0) as pipe:
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream, loop=loop), pipe
        )
        try:
            while data := await stream.read(_CHUNK):
                yield data
        finally:
            transport.close()  # the writer then ends as well
            await asyncio.wait([writing])
    writing.result()


def _write(writes: int, folder: Path, wanted: Files, entries: Sequence[Entry]) -> None:
    with (
        os.fdopen(writes, "wb", buffering=_CHUNK) as out,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        Folder.open(folder / CONTENT) as content,
    ):
        for entry in entries:
            member = _member(entry, wanted)
            if entry.kind == "l":
                member.type, member.linkname = tarfile.SYMTYPE, entry.target
                archive.addfile(member)
            elif entry.kind == "f":
                with content.read(entry.inside) as data:
                    member.size = os.fstat(data.fileno()).st_size
                    archive.addfile(member, data)


def _member(entry: Entry, wanted: Files) -> tarfile.TarInfo:
    """Return the header of an entry: rights, owner by name, and time."""
    member = tarfile.TarInfo(entry.inside)
    member.mode, member.uid, member.gid = entry.mode, entry.user, entry.group
    member.uname, member.gname = wanted.owner(entry)
    # As text: a number of nanoseconds is more than a float holds.
    member.mtime = entry.when // 10**9
    member.pax_headers = {"mtime": f"{entry.when // 10**9}.{entry.when % 10**9:09d}"}
    return member


async def data_directory(folder: Path, owner: str) -> AsyncIterator[bytes]:
    """Give an archive of a database's data directory, all of it owned by ``owner``.

    What only the scratch server and the backup tool have left in it stays here. What that server
    has made there is read in its sandbox. Raises BackupError.
    """
    doing = "reading the restored data directory"
    if not await asyncio.to_thread(folder.is_dir):
        raise failed(doing, f"{folder} is not there")
    program = await sandbox(folder).start(
        "tar",
        "--create",
        "--file=-",
        "--sparse",
        f"--owner={owner}:0",
        f"--group={owner}:0",
        *(f"--exclude=./{name}" for name in NOT_DATA),
        f"--directory={DATA}",
        ".",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        while data := await program.stdout.read(_CHUNK):
            yield data
        await program.end_well(doing)
    finally:
        await program.kill()


def can_squeeze() -> bool:
    """Return whether this machine has what ``squeezed`` needs."""
    return squeezer() is not bytes


async def squeezed(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the same in pieces, each compressed: encrypting it for SSH costs more than that.

    A piece is the lengths of its frame and of what is in it (four bytes each), and the frame.
    """
    squeeze, waiting = squeezer(), bytearray()

    def framed(piece: bytes) -> bytes:
        frame = bytes(squeeze(piece))
        return struct.pack(">II", len(frame), len(piece)) + frame

    async for some in data:
        waiting += some
        if len(waiting) >= _PIECE:
            whole, waiting = bytes(waiting), bytearray()
            yield await asyncio.to_thread(framed, whole)
    if waiting:
        yield framed(bytes(waiting))


async def content_of(file: Path) -> AsyncIterator[bytes]:
    """Give the bytes of a file. Raises OSError."""
    with file.open("rb") as data:
        while piece := await asyncio.to_thread(data.read, _CHUNK):
            yield piece
