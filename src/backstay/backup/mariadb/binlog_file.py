"""Binary log files of MariaDB, read without a server: whose they are, and what is whole in them.

A file is four bytes, a format description event, and further events, each with its length in its
header. Changes are written in groups: a GTID event, what is changed, and the commit.
https://mariadb.com/kb/en/2-binlog-event-header/, https://mariadb.com/kb/en/gtid_event/
"""

import errno
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from backstay.errors import BackupError

MAGIC = b"\xfebin"
HEAD = 17
"""Bytes at the beginning of a file that identify it."""

_HEADER = struct.Struct("<IBIIIH")  # time, type, server, length, position after it, flags
_QUERY, _FORMAT, _XID, _XA_PREPARE, _GTID, _QUERY_COMPRESSED = 2, 15, 16, 38, 162, 165
_QUERY_FIXED = 13  # thread 4, seconds 4, length of the database's name 1, error 2, of variables 2
_GTID_FLAGS = 12  # after sequence number 8 and domain 4
_STANDALONE = 1
_ENDS = re.compile(rb"COMMIT$|ROLLBACK$|XA ")
_READ = 1 << 17
"""Bytes of an event that are read: all before a statement's text take fewer than 2^16 + 300."""
_NUMBER = re.compile("[0-9]{1,18}")


def identity(head: bytes) -> str | None:
    """Return what distinguishes a file from another of its name, None where ``head`` is too short.

    It is time, type, server and length of the format description event: what the server has in
    its file and what a client receives differ only in the flags behind them (in use, or closed).
    """
    return head[4:HEAD].hex() if len(head) >= HEAD and head.startswith(MAGIC) else None


def identity_of(file: Path) -> str | None:
    """Return the identity of a file of this machine, None where it has none (yet).

    Raises BackupError where it cannot be read.
    """
    with _opened(file) as data:
        return None if data is None else identity(data.read(HEAD))


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO | None]:
    """Give a regular file open, None where there is none. Raises BackupError."""
    try:
        try:
            opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:  # none; a link; a pipe
                raise
            yield None
            return
        with os.fdopen(opened, "rb") as data:
            yield data if stat.S_ISREG(os.fstat(opened).st_mode) else None
    except OSError as error:
        raise BackupError(
            f"reading {file}",
            came_back=error.strerror or str(error),
            remedy="do it as the user who receives the log; if its disk fails, replay another copy",
        ) from error


def number(name: str) -> int:
    """Return the number of a file: 12 for ``mysql-bin.000012``, -1 where it has none."""
    digits = name.rpartition(".")[2]
    return int(digits) if _NUMBER.fullmatch(digits) else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A whole change, from ``start`` to before ``end``; ``at`` is its commit (Unix seconds)."""

    start: int
    end: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a file can be replayed: to ``position``, the end of its last whole change.

    ``at`` is when that was committed (Unix seconds), None where there is no change; ``changes``
    how many there are; ``stopped`` says that a later change follows, ``torn`` how many bytes
    follow that are no whole change.
    """

    position: int
    at: int | None
    changes: int
    stopped: bool
    torn: int


def reach(file: Path, start: int, until: datetime | None = None) -> Reach:
    """Walk a file from ``start`` to its last whole change that was committed before ``until``.

    Raises BackupError where the file is not a binary log, ends before ``start``, or is damaged:
    what its server had not finished is torn, what no server writes is damage.
    """
    with _opened(file) as data:
        size = 0 if data is None else os.fstat(data.fileno()).st_size
        if data is None or identity(data.read(HEAD)) is None or start > size:
            raise BackupError(
                f"reading {file}",
                came_back=f"it is not a binary log that reaches {start}: it has {size} bytes",
                remedy="replay to an earlier time, or from an earlier backup",
            )
        try:
            return _reach(data, start, size, until)
        except _Damage as error:
            raise BackupError(
                f"reading {file}",
                came_back=f"it is damaged: {error}",
                remedy="replay to a time before that, or from a later backup",
            ) from error


def _reach(data: BinaryIO, start: int, size: int, until: datetime | None) -> Reach:
    position, at, changes = start, None, 0
    for group in groups(data, start):
        if until is not None and group.at >= until.timestamp():
            return Reach(position=position, at=at, changes=changes, stopped=True, torn=0)
        position = group.end
        if group.start < group.end and group.at:
            at, changes = group.at, changes + 1
    return Reach(position=position, at=at, changes=changes, stopped=False, torn=size - position)


class _Damage(Exception):
    """What no server writes."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"at byte {position} {why}")


@dataclass(frozen=True, slots=True)
class _Event:
    """A whole event. ``body`` is what follows its header, its first ``_READ`` bytes at most."""

    position: int
    at: int
    kind: int
    length: int
    body: bytes

    @property
    def end(self) -> int:
        """Return where the next one starts."""
        return self.position + self.length

    def needs(self, size: int) -> None:
        """Raise _Damage where the body has not as many bytes as its kind needs."""
        if len(self.body) < size:
            raise _Damage(self.position, f"an event of type {self.kind} is too short")


def groups(data: BinaryIO, start: int) -> Iterator[Group]:
    """Give the whole changes from ``start`` on, in order.

    What is no change (a description, a rotation) is given too, with 0 as its time: it is whole by
    itself.
    """
    size = data.seek(0, os.SEEK_END)
    checksum = _checksum(data, size)
    opened: int | None = None
    alone = False
    for event in _events(data, start, size):
        if event.kind == _GTID:
            event.needs(_GTID_FLAGS + 1)
            opened, alone = event.position, bool(event.body[_GTID_FLAGS] & _STANDALONE)
        elif opened is None:
            yield Group(start=event.position, end=event.end, at=0)
        elif _is_end(event, alone=alone, checksum=checksum):
            yield Group(start=opened, end=event.end, at=event.at)
            opened = None


def _events(data: BinaryIO, start: int, size: int) -> Iterator[_Event]:
    """Give each whole event. Raises _Damage.

    No length is believed: so many bytes must be there, and an event that is not all there must say
    that it would end where its length says (the position in its header, 0 where it has none).
    """
    position = data.seek(max(start, len(MAGIC)))
    while len(header := data.read(_HEADER.size)) == _HEADER.size:
        at, kind, _, length, end, _ = _HEADER.unpack(header)
        if not any(header):
            return  # its place was taken, and it was never written
        claims = f"an event claims to have {length} bytes"
        if length < _HEADER.size:
            raise _Damage(position, claims)
        if position + length > size:
            if end not in {0, (position + length) % (1 << 32)}:
                raise _Damage(position, f"{claims}, and to end at {end}")
            return  # it was being written when its server, or what received it, died
        body = data.read(min(length - _HEADER.size, _READ))
        yield _Event(position, at, kind, length, body)
        position = data.seek(position + length)


def _checksum(data: BinaryIO, size: int) -> int:
    """Return how many bytes of each event are its checksum, by the format description."""
    for event in _events(data, 0, size):
        whole = event.length == _HEADER.size + len(event.body)
        described = event.kind == _FORMAT and whole and len(event.body) > 5
        return 4 if described and event.body[-5] else 0
    return 0


def _is_end(event: _Event, *, alone: bool, checksum: int) -> bool:
    if event.kind in {_XID, _XA_PREPARE}:
        return True
    if event.kind not in {_QUERY, _QUERY_COMPRESSED}:
        return False
    if alone:
        return True
    event.needs(_QUERY_FIXED)
    body = event.body
    database, variables = body[8], int.from_bytes(body[11:13], "little")
    begin = _QUERY_FIXED + variables + database + 1
    text = body[begin : event.length - _HEADER.size - checksum]
    return _ENDS.match(text) is not None


DUMP_HEAD = 1 << 16
"""How many bytes from the start of a dump hold its position."""

_POSITION = re.compile(
    rb"^-- CHANGE MASTER TO MASTER_LOG_FILE='([A-Za-z0-9._-]{1,255})', MASTER_LOG_POS=(\d{1,18});",
    re.M,
)


def position_of(head: bytes) -> list[str]:
    """Return the binary log's file and offset to which a dump is complete, from its first bytes.

    Both as text, nothing where the server keeps no binary log. They are in a comment, as of
    ``--master-data=2``.
    """
    found = _POSITION.search(head)
    return [part.decode() for part in found.groups()] if found else []
