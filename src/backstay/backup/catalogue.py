"""The catalogue: what backups there are, as one plain file for each, beside the repository.

A backup is in it when it is whole: the file is written last, and in one piece. It says in which
state the backup is; ``failed`` is one that was taken and could not be proved.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from backstay.answers import BadAnswer, Count, Line, Seconds, read
from backstay.backup import own_folder
from backstay.errors import BackupError
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.journal.place import folder as state_folder


class State(StrEnum):
    """How far a backup can be trusted."""

    TAKEN = "taken"
    VERIFIED = "verified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIn:
    """The repository that a backup is in; all empty in backups of earlier versions.

    ``id`` is restic's, ``place`` where it was, without secrets, ``mount`` where its disk was
    mounted.
    """

    id: Line = ""
    place: Line = ""
    mount: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup of one host. Times are Unix seconds, sizes bytes, ``seconds`` durations.

    ``taken_at`` is when it was started; ``seconds`` later it was complete.

    ``snapshots`` are restic's, by part (``files``, ``database``, ``dump``); ``stored`` is the
    repository that they are in; ``engine`` is how the
    databases were taken, where there are any; ``contents`` are what ``backup.contents`` sorts of
    it; ``facts`` were read from the database around the backup; ``machine`` is what another host
    must have alike to take this one's place, nothing in older backups; ``proof`` is what the
    verification found.
    """

    name: str
    cloud: str
    host: str
    taken_at: Seconds
    seconds: Seconds
    state: State = State.TAKEN
    engine: Engine = Engine.PHYSICAL
    snapshots: Mapping[str, str] = field(default_factory=dict)
    stored: StoredIn = field(default_factory=StoredIn)
    sizes: Mapping[str, Count] = field(default_factory=dict)
    added: Mapping[str, Count] = field(default_factory=dict)
    files: Count = 0
    packages: Count = 0
    contents: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    proof: Mapping[str, Any] = field(default_factory=dict)

    def with_part(self, part: str, snapshot: str, size: int, added: int) -> "Backup":
        """Return the same backup with one more part."""
        return replace(
            self,
            snapshots={**self.snapshots, part: snapshot},
            sizes={**self.sizes, part: size},
            added={**self.added, part: added},
        )

    def snapshot(self, part: str) -> str:
        """Return the snapshot of a part. Raises BackupError where the backup has none."""
        if part not in self.snapshots:
            raise BackupError(
                f"looking for the {part} of {self.name}",
                came_back="the catalogue names no snapshot of it",
                remedy="choose another backup: backstay backup list",
            )
        return self.snapshots[part]

    def proved(self, state: State, proof: Mapping[str, Any]) -> "Backup":
        """Return the same backup in the state that a verification has found it in."""
        return replace(self, state=state, proof=dict(proof))


def folder_of(cloud: Cloud) -> Path:
    """Return the folder of this machine that holds all that is kept of a cloud's backups."""
    return cloud.backup.folder or state_folder() / "backups" / cloud.name


def repository_of(cloud: Cloud) -> str:
    """Return where a cloud's backups are stored, as restic has it."""
    return cloud.backup.repository or str(folder_of(cloud) / "repository")


class Catalogue:
    """The catalogue in a folder. Every method raises BackupError where a file cannot be used."""

    FOLDER = "catalogue"
    """Its name in the folder of a cloud's backups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, backup: Backup) -> None:
        """Write one backup's file, atomically and on disk before this returns."""
        file = self.folder / f"{backup.name}.json"
        part = file.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("w") as out:
                json.dump(asdict(backup), out, indent=1)
                out.flush()
                os.fsync(out.fileno())
            part.rename(file)
        except OSError as error:
            raise BackupError(
                f"writing {file}",
                came_back=error.strerror or str(error),
                remedy="free space there, then take it again; existing backups are unchanged",
            ) from error

    def backups(self, *, host: str | None = None) -> list[Backup]:
        """Return all backups, or a host's, the newest first; none where there is no catalogue.

        Raises BackupError also where one of the files is damaged: who decides by them, as what is
        removed, must know them all.
        """
        found, damaged = self.readable(host=host)
        for error in damaged:
            raise error
        return found

    def readable(self, *, host: str | None = None) -> tuple[list[Backup], list[BackupError]]:
        """Return what ``backups`` does, and an error for each file that is damaged."""
        try:
            files = [file for file in self.folder.iterdir() if file.suffix == ".json"]
        except FileNotFoundError:
            files = []
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        own_folder.require(self.folder.parent, filled=bool(files))
        found, damaged = list[Backup](), list[BackupError]()
        for file in sorted(files):
            try:
                backup = self._read(file)
            except BackupError as error:
                damaged.append(error)
                continue
            if backup is not None and host in {None, backup.host}:
                found.append(backup)
        return sorted(found, key=lambda backup: backup.taken_at, reverse=True), damaged

    def verified_at(self, host: str) -> float | None:
        """Return when the newest verified backup of a host was taken, None if there is none."""
        states = ((one.taken_at, one.state) for one in self.backups(host=host))
        return next((at for at, state in states if state is State.VERIFIED), None)

    def named(self, name: str) -> Backup:
        """Return the backup of that name, or the newest of the host of that name."""
        found = self._read(self.folder / f"{name}.json")
        found = found or next(iter(self.backups(host=name)), None)
        if found is not None:
            return found
        if not self._is_there():
            raise BackupError(
                f"looking for the backup {name}",
                came_back=f"the folder {self.folder} is not there",
                remedy="is what it is on mounted? Is `folder` under `backup` in cloud.yaml right? "
                "Then try again",
            )
        raise BackupError(
            f"looking for the backup {name}",
            came_back="there is none of that name, and none of a host of that name",
            remedy="backstay backup list",
        )

    def _is_there(self) -> bool:
        try:
            return self.folder.is_dir()
        except OSError:
            return False

    def remove(self, names: Sequence[str]) -> None:
        """Forget backups: before their data go, so that none is listed whose data are gone."""
        for name in names:
            (self.folder / f"{name}.json").unlink(missing_ok=True)

    def _read(self, file: Path) -> Backup | None:
        """Return a backup, None where it was pruned meanwhile."""
        try:
            return _backup_of(file.read_bytes(), file.stem)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(file, error) from error
        except BadAnswer as error:
            raise BackupError(
                f"reading {file}",
                came_back=f"it is not a catalogue file of a backup: {error}",
                remedy="restore it from a copy, or move it away; its data stay in the repository",
            ) from error


@dataclass(frozen=True, kw_only=True)
class _Group:
    """One of ``contents``."""

    files: Count
    bytes: Count
    databases: Mapping[str, Count]


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is read of ``facts``; older versions lack some."""

    version: str = ""
    position: tuple[()] | tuple[str, Annotated[str, Field(pattern="^[0-9]{1,18}$")]] = ()
    rows_before: Mapping[str, Count] = field(default_factory=dict)
    rows_after: Mapping[str, Count] = field(default_factory=dict)
    databases: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    release: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    schemas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Proof:
    """What is read of ``proof``; the time of an older one is not known."""

    at: Seconds | None = None
    problems: tuple[str, ...] = ()
    restore_seconds: Seconds | None = None


_ALWAYS: Mapping[str, Any] = {"version": "", "position": [], "rows_before": {}, "rows_after": {}}
"""The facts that are there whatever version has written them, unless there are none at all."""


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """The parts of a file whose form ``Backup`` leaves open."""

    contents: Mapping[str, _Group] = field(default_factory=dict)
    facts: _Facts = field(default_factory=_Facts)
    proof: _Proof = field(default_factory=_Proof)


def _backup_of(raw: bytes, name: str) -> Backup:
    """Return a backup from its file, of an older version too. Pure. Raises BadAnswer."""
    backup = read(Backup, raw)
    read(_Checked, raw)
    if backup.name != name:
        raise BadAnswer(f"it is the file of {backup.name}", place="name")
    return replace(backup, facts={**_ALWAYS, **backup.facts}) if backup.facts else backup


def _unreadable(path: Path, error: OSError) -> BackupError:
    return BackupError(
        f"reading {path}",
        came_back=error.strerror or str(error),
        remedy="do it as the user who takes the backups, on the machine that keeps them",
    )
