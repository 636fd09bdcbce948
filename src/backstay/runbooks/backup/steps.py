"""The kinds of step of a backup, and what each results in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backstay.backup.catalogue import StoredIn
from backstay.inventory.backup import Engine
from backstay.journal.action import StepKind
from backstay.journal.result import StepResult


@dataclass(frozen=True, kw_only=True)
class RepositoryOpened(StepResult):
    """The repository is open and the backup has its name.

    Attributes:
        began: when the backup was started, in Unix seconds: its name is made of that.
        backup: the backup's name.
        torn: snapshots of interrupted backups, which were forgotten.
        stored: the repository, as the catalogue notes it.

    """

    began: float
    backup: str
    stored: StoredIn = field(default_factory=StoredIn)
    torn: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FilesFetched(StepResult):
    """How many of the host's files were new or changed, and are in the mirror now."""

    fetched: int


@dataclass(frozen=True, kw_only=True)
class StoredPart(StepResult):
    """A part of a backup that is in the repository; sizes are bytes, ``added`` is what was new."""

    snapshot: str
    size: int
    added: int


@dataclass(frozen=True, kw_only=True)
class FilesStored(StoredPart):
    """The host's files.

    Attributes:
        files: how many there are.
        packages: how many packages are installed on the host.
        machine: what another host must have alike to replace this one.
        contents: files, bytes and databases by service (``backup.contents``).

    """

    files: int
    packages: int
    machine: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DatabaseStored(StoredPart):
    """The host's databases; ``facts`` is what the catalogue records of the database."""

    engine: Engine
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BackupRecorded(StepResult):
    """The name of the backup that is in the catalogue now."""

    backup: str


@dataclass(frozen=True, kw_only=True)
class StoredDump:
    """A dump that is in the repository; sizes are bytes, ``added`` is what was new."""

    snapshot: str
    size: int
    added: int


@dataclass(frozen=True, kw_only=True)
class BackupProved(StepResult):
    """A verification.

    Attributes:
        backup: the backup's name.
        at: when it was verified, in Unix seconds.
        problems: what the verification found wrong; none where it succeeded.
        restore_seconds: how long restoring took.
        dump: the portable form of the databases that was stored, None where there is none.

    """

    backup: str
    at: float
    problems: tuple[str, ...] = ()
    restore_seconds: float = 0.0
    dump: StoredDump | None = None


@dataclass(frozen=True, kw_only=True)
class Pruned(StepResult):
    """What was removed: the names of backups, and the paths of binary logs."""

    backups: tuple[str, ...]
    logs: tuple[str, ...]


REPOSITORY = StepKind("repository", RepositoryOpened, "backup")
BRING = StepKind("bring", FilesFetched, "backup")
DATABASE = StepKind("database", DatabaseStored, "backup")
FILES = StepKind("files", FilesStored, "backup")
RECORD = StepKind("record", BackupRecorded, "backup")
VERIFY = StepKind("verify", BackupProved, "backup")
PRUNE = StepKind("prune", Pruned)

KINDS = (REPOSITORY, BRING, DATABASE, FILES, RECORD, VERIFY, PRUNE)
"""All kinds, in the order of a plan."""
