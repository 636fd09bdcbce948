"""The kinds of step of a restore, each with its name and the type of its result. Pure.

Phases are those of the report of a replacement, which restores a backup too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from backstay.journal.action import StepKind
from backstay.journal.result import StepResult

Folder = tuple[str, int, str, str]
"""A folder as it shall be: its path, its mode, its owner and group by name or number."""


@dataclass(frozen=True, kw_only=True)
class HostInspected(StepResult):
    """What the host can do, and where things are put.

    Attributes:
        mark: in the name of every place that this restore makes.
        data: the data directory of the host's database server.
        owner: the user that owns it.
        beside: the folder on the same file system in which the new data directory is made.
        zstd: the host can decompress a stream.
        fills: the host can make the data directory of the backup itself.

    """

    mark: str = ""
    data: str = ""
    owner: str = ""
    beside: str = ""
    zstd: bool = False
    fills: bool = False


@dataclass(frozen=True, kw_only=True)
class Waited(StepResult):
    """A wait that ended well after so many ``seconds``."""

    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FilesFetched(Waited):
    """The backup's files are here; ``newer`` of them came with the stream after the backup."""

    newer: int = 0


@dataclass(frozen=True, kw_only=True)
class LogReplayed:
    """The replay of the log: ``losses`` are sentences on what no log has.

    Attributes:
        changes: how many changes were replayed.
        file: the last file of the log, read up to ``position``.
        at: the time of the last change, Unix seconds.
        torn: how many bytes at the end were not a whole change.

    """

    losses: tuple[str, ...] = ()
    changes: int = 0
    file: str = ""
    position: int = 0
    at: float | None = None
    torn: int = 0


@dataclass(frozen=True, kw_only=True)
class DatabasesRebuilt(Waited):
    """The databases are rebuilt, on the host or in a scratch server here.

    Attributes:
        on_host: the host made them of the backup itself.
        remarks: sentences on what does not fit together, or was lost.
        replayed: what the log brought.
        loads: of one service's databases the names, each with its character set and collation.

    """

    OLD_KEYS: ClassVar[Mapping[str, str]] = {"there": "on_host"}

    on_host: bool = False
    remarks: tuple[str, ...] = ()
    replayed: LogReplayed = LogReplayed()
    loads: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class BackupSent(StepResult):
    """So many ``files`` were sent; ``folders`` are made when they are put in place."""

    files: int = 0
    folders: tuple[Folder, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServicesStopped(StepResult):
    """``triggers`` are the sockets and timers that were active: they are started again."""

    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BackupInPlace(StepResult):
    """So many ``files`` are in place; ``kept`` are the places of what they replaced."""

    kept: tuple[str, ...] = ()
    files: int = 0


@dataclass(frozen=True, kw_only=True)
class AgentsAttached(Waited):
    """Agents came back: who was ``restarted``, and who is not attached (``left``)."""

    restarted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


_READ_BACK, _RESTORE, _PROOF = "backup read back", "restore", "proof"
LOOK = StepKind("look", HostInspected, _RESTORE)
FETCH = StepKind("fetch", FilesFetched, _READ_BACK)
REBUILD = StepKind("rebuild", DatabasesRebuilt, _READ_BACK)
SEND = StepKind("send", BackupSent, _RESTORE)
STOP = StepKind("stop", ServicesStopped, _RESTORE)
SWAP = StepKind("swap", BackupInPlace, _RESTORE)
START = StepKind("start", Waited, "start")
WORKS = StepKind("works", Waited, _PROOF)
AGENTS = StepKind("agents", AgentsAttached, _PROOF)
TIDY = StepKind("tidy", StepResult)
KINDS = (LOOK, FETCH, REBUILD, SEND, STOP, SWAP, START, WORKS, AGENTS, TIDY)
