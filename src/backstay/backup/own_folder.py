"""Is the folder of the backups the one that it was? A disk that is not mounted leaves an empty one.

The folder has a file with an id of its own, and beside the journal it is noted which folder had
which id once there was a backup in it. So an empty mount point, and another disk, are not taken
for a cloud that has no backups yet.
"""

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from backstay.answers import BadAnswer, Line, read
from backstay.backup.mounts import missing_mount, mount_of
from backstay.commands import command
from backstay.errors import BackupError
from backstay.journal.place import beside_journal

ID = "folder-id"
NOTES = "backup-folders"
_MOST = 4096
_Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What is noted of a folder: its ``id``, and where its disk is mounted, empty for the root."""

    folder: Line
    id: _Id
    mount: Line = ""


def require(folder: Path, *, filled: bool) -> None:
    """Return where this may be the folder that had the backups; ``filled``: it has a catalogue.

    Raises BackupError where another or an empty one is in its place.
    """
    noted, id_here = _noted(folder), _id_of(folder)
    if filled and (noted is None or id_here in {"", noted.id}):
        return  # also a copy that an earlier version has made
    if noted is not None and id_here != noted.id:
        raise _another(folder, noted, other=bool(id_here))
    away = "" if filled or id_here else missing_mount(folder)
    if away:
        raise BackupError(
            f"using {folder} for backups",
            came_back=f"{away} is not mounted, and /etc/fstab has it",
            remedy=f"{command('mount', away)}; then try again. Nothing was made there",
        )


def note(folder: Path) -> None:
    """Give the folder its id, and note it: it has a backup now. Raises BackupError."""
    made = _id_of(folder)
    file = _note_of(folder)
    try:
        if not made:
            known = _noted(folder)
            made = known.id if known else secrets.token_hex(16)
            _write(folder / ID, made)
        text = asdict(Noted(folder=str(folder), id=made, mount=mount_of(folder)))
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, json.dumps(text))
    except OSError as error:
        raise BackupError(
            f"noting which folder has the backups ({error.filename or file})",
            came_back=error.strerror or str(error),
            remedy="free space there, or let this user write there; the backups are unchanged",
        ) from error


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.part")
    with part.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)


def _another(folder: Path, noted: Noted, *, other: bool) -> BackupError:
    file, away = _note_of(folder), missing_mount(folder, noted.mount)
    seen = "another folder is in its place" if other else "the folder that has them is not here"
    seen = f"{away} is not mounted" if away else seen
    first = f"{command('mount', away)}, then try again" if away else "mount the right disk there"
    return BackupError(
        f"using {folder} for backups",
        came_back=f"there are backups of this cloud in it, and none is here now: {seen}",
        remedy=f"{first}. Nothing was made there, and no backup was changed. Where they are gone "
        f"for good: {command('rm', str(file))}",
    )


def _note_of(folder: Path) -> Path:
    name = hashlib.sha256(os.path.abspath(folder).encode()).hexdigest()[:16]  # noqa: PTH100
    return beside_journal() / NOTES / f"{name}.json"


def _noted(folder: Path) -> Noted | None:
    """Return what is noted of a folder; nothing where that cannot be read."""
    try:
        return read(Noted, _start_of(_note_of(folder)))
    except (OSError, BadAnswer):
        return None


def _id_of(folder: Path) -> str:
    """Return the folder's id, empty where it has none. Raises BackupError."""
    try:
        return _start_of(folder / ID).decode(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise BackupError(
            f"reading {folder / ID}",
            came_back=error.strerror or str(error),
            remedy="do it as the user who takes the backups, and see whether its disk is well",
        ) from error


def _start_of(file: Path) -> bytes:
    with file.open("rb") as data:
        return data.read(_MOST)
