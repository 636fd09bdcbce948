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


def identity(head: bytes) -> str | None:
    """Return what distinguishes a file from another of its name, None where ``head`` is too short.

    It is time, type, server and length of the format description event: what the server has in
    its file and what a client receives differ only in the flags behind them (in use, or closed).
    """
    return head[4:HEAD].hex() if len(head) >= HEAD and head.startswith(MAGIC) else None


def identity_of(file: Path) -> str | None:
    """Return the identity of a file of this machine, None where it has none (yet)."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):  # none; a link; a pipe
            return None
        raise
    with os.fdopen(opened, "rb") as data:
        return identity(data.read(HEAD)) if stat.S_ISREG(os.fstat(opened).st_mode) else None


def number(name: str) -> int:
    """Return the number of a file: 12 for ``mysql-bin.000012``, -1 where it has none."""
    digits = name.rpartition(".")[2]
    return int(digits) if digits.isdigit() else -1


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

    Raises BackupError where the file is not a binary log or ends before ``start``.
    """
    size = file.stat().st_size
    if identity_of(file) is None or start > size:
        raise BackupError(
            f"reading {file}",
            came_back=f"it is not a binary log that reaches {start}: it has {size} bytes",
            remedy="replay to an earlier time, or from an earlier backup",
        )
    position, at, changes = start, None, 0
    with file.open("rb") as data:
        for group in groups(data, start):
            if until is not None and group.at >= until.timestamp():
                return Reach(position=position, at=at, changes=changes, stopped=True, torn=0)
            position = group.end
            if group.start < group.end and group.at:
                at, changes = group.at, changes + 1
    return Reach(position=position, at=at, changes=changes, stopped=False, torn=size - position)


def groups(data: BinaryIO, start: int) -> Iterator[Group]:
    """Give the whole changes from ``start`` on, in order.

    What is no change (a description, a rotation) is given too, with 0 as its time: it is whole by
    itself.
    """
    checksum = _checksum(data)
    opened: int | None = None
    alone = False
    for position, at, kind, body in _events(data, start):
        end = position + _HEADER.size + len(body)
        if kind == _GTID:
            opened, alone = position, bool(body[_GTID_FLAGS] & _STANDALONE)
        elif opened is None:
            yield Group(start=position, end=end, at=0)
        elif _is_end(kind, body, alone=alone, checksum=checksum):
            yield Group(start=opened, end=end, at=at)
            opened = None


def _events(data: BinaryIO, start: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Give position, time, type and body of each whole event."""
    position = data.seek(max(start, len(MAGIC)))
    while len(header := data.read(_HEADER.size)) == _HEADER.size:
        at, kind, _, length, *_ = _HEADER.unpack(header)
        body = data.read(max(length - _HEADER.size, 0))
        if length < _HEADER.size or len(body) < length - _HEADER.size:
            return  # it was being written when its server, or what received it, died
        yield position, at, kind, body
        position += length


def _checksum(data: BinaryIO) -> int:
    """Return how many bytes of each event are its checksum, by the format description."""
    for _, _, kind, body in _events(data, 0):
        return 4 if kind == _FORMAT and len(body) > 5 and body[-5] else 0
    return 0


def _is_end(kind: int, body: bytes, *, alone: bool, checksum: int) -> bool:
    if kind in {_XID, _XA_PREPARE}:
        return True
    if kind not in {_QUERY, _QUERY_COMPRESSED}:
        return False
    if alone:
        return True
    database, variables = body[8], int.from_bytes(body[11:13], "little")
    text = body[_QUERY_FIXED + variables + database + 1 : len(body) - checksum]
    return _ENDS.match(text) is not None


DUMP_HEAD = 1 << 16
"""How many bytes from the start of a dump hold its position."""

_POSITION = re.compile(
    rb"^-- CHANGE MASTER TO MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+);", re.M
)


def position_of(head: bytes) -> list[str]:
    """Return the binary log's file and offset to which a dump is complete, from its first bytes.

    Both as text, nothing where the server keeps no binary log. They are in a comment, as of
    ``--master-data=2``.
    """
    found = _POSITION.search(head)
    return [part.decode() for part in found.groups()] if found else []
