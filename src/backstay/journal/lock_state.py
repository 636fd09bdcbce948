"""Whether a lock of tooz is still ours, asked of whatever holds it.

tooz itself remembers that a lock was acquired and asks nobody: a lock file that was removed, a key
in etcd that ran out, a connection to PostgreSQL that broke would stay unnoticed. What is looked at
here are attributes of tooz's drivers, some of them private: where one is not there (another
release), tooz's own word counts.
"""

import base64
import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Any

F_OFD_GETLK = 36
"""Asks about locks on a file by its open descriptor: also those of this process, which the classic
F_GETLK leaves out. https://man7.org/linux/man-pages/man2/F_OFD_GETLK.2const.html"""
UNHEARD = 30.0
"""Seconds after which a lock counts as lost whose service says no time to live and is silent."""
_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux: type, whence, start, length, process


def lost(lock: Any) -> str:  # noqa: ANN401 - tooz is untyped
    """Return why a lock is not ours any more, empty where it is. It blocks.

    Raises whatever the driver raises where that cannot be found out now.
    """
    if not lock.acquired:
        return "it was released"
    inner: Any = getattr(lock, "_lock", None)
    if getattr(inner, "lockfile", None) is not None:
        return _file_lost(inner.lockfile.fileno(), os.fsdecode(inner.path))
    client = getattr(getattr(lock, "_coord", None), "client", None)
    if client is not None and hasattr(lock, "_key") and hasattr(lock, "_uuid"):
        return _key_lost(client.get(lock._key.decode()), str(lock._uuid))
    connection = getattr(lock, "_conn", None)
    if connection is not None and hasattr(connection, "cursor"):
        return _connection_lost(connection)
    with contextlib.suppress(AttributeError, NotImplementedError):
        return "" if lock.is_still_owner() else "another holds it"
    return ""


def time_to_live(coordinator: Any) -> float:  # noqa: ANN401 - as above
    """Return after how many seconds without renewal a lock may be another's."""
    found = getattr(coordinator, "lock_timeout", None)
    return float(found) if isinstance(found, int | float) else UNHEARD


def _file_lost(number: int, path: str) -> str:
    """Return why the lock on an open file is not the lock on ``path``, empty where it is.

    The file may have been removed or replaced; then others lock another file of that name. And all
    locks of a process on a file end when it closes any descriptor of it.
    """
    mine = os.fstat(number)
    try:
        there = Path(path).lstat()
    except FileNotFoundError:
        return f"its file {path} was removed"
    if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
        return f"its file {path} was replaced"
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = struct.unpack(_FLOCK, fcntl.fcntl(number, F_OFD_GETLK, asked))
    except OSError:  # a file system that does not know this question
        return ""
    if found[0] == fcntl.F_UNLCK:
        return f"the lock on its file {path} is gone"
    return "" if found[4] in {os.getpid(), -1, 0} else f"process {found[4]} has it"


def _key_lost(values: list[Any], mine: str) -> str:
    if not values:
        return "its key in etcd is gone: it was not renewed in time, or was removed"
    value = values[0]
    spelled = value if isinstance(value, bytes) else str(value).encode()
    return "" if base64.b64encode(spelled).decode() == mine else "another process holds it"


def _connection_lost(connection: Any) -> str:  # noqa: ANN401 - as above
    """Return why an advisory lock of PostgreSQL is gone: it ends with its connection."""
    if getattr(connection, "closed", False) or not getattr(connection, "open", True):
        return "its connection to the database is closed"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:  # the driver's own kinds
        return f"its connection to the database broke: {' '.join(str(error).split())[:200]}"
    return ""
