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
from typing import Any

from backstay.errors import BackupError
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.journal.place import folder as own_folder


class State(StrEnum):
    """How far a backup can be trusted."""

    TAKEN = "taken"
    VERIFIED = "verified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup of one host. Times are Unix seconds, sizes bytes, ``seconds`` durations.

    ``taken_at`` is when it was started; ``seconds`` later it was complete.

    ``snapshots`` are restic's, by part (``files``, ``database``, ``dump``); ``engine`` is how the
    databases were taken, where there are any; ``contents`` are what ``backup.contents`` sorts of
    it; ``facts`` were read from the database around the backup; ``machine`` is what another host
    must have alike to take this one's place, nothing in older backups; ``proof`` is what the
    verification found.
    """

    name: str
    cloud: str
    host: str
    taken_at: float
    seconds: float
    state: State = State.TAKEN
    engine: Engine = Engine.PHYSICAL
    snapshots: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    packages: int = 0
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

    def proved(self, state: State, proof: Mapping[str, Any]) -> "Backup":
        """Return the same backup in the state that a verification has found it in."""
        return replace(self, state=state, proof=dict(proof))


def folder_of(cloud: Cloud) -> Path:
    """Return the folder of this machine that holds all that is kept of a cloud's backups."""
    return cloud.backup.folder or own_folder() / "backups" / cloud.name


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
        """Return all backups, or a host's, the newest first; none where there is no catalogue."""
        try:
            files = [file for file in self.folder.iterdir() if file.suffix == ".json"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        found = [backup for file in files if (backup := self._read(file)) is not None]
        mine = [backup for backup in found if host in {None, backup.host}]
        return sorted(mine, key=lambda backup: backup.taken_at, reverse=True)

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
        if not self.folder.is_dir():
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

    def remove(self, names: Sequence[str]) -> None:
        """Forget backups: before their data go, so that none is listed whose data are gone."""
        for name in names:
            (self.folder / f"{name}.json").unlink(missing_ok=True)

    def _read(self, file: Path) -> Backup | None:
        """Return a backup, None where it was pruned meanwhile."""
        try:
            read = json.loads(file.read_text())
            read = {"engine": Engine.PHYSICAL} | read  # older ones have no other
            parsed = {"state": State(read["state"]), "engine": Engine(read["engine"])}
            return Backup(**(read | parsed))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(file, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(
                f"reading {file}",
                came_back=f"it is not a catalogue file of a backup: {error}",
                remedy="move it away; its data stay in the repository",
            ) from error


def _unreadable(path: Path, error: OSError) -> BackupError:
    return BackupError(
        f"reading {path}",
        came_back=error.strerror or str(error),
        remedy="do it as the user who takes the backups, on the machine that keeps them",
    )
