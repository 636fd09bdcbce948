"""Where a cloud's backups are on this machine."""

import errno
import os
import secrets
import shutil
import time
from pathlib import Path

from backstay.backup import own_folder
from backstay.backup.catalogue import Backup, Catalogue, StoredIn, folder_of, repository_of
from backstay.backup.files import Mirror
from backstay.backup.follow import FollowedFiles
from backstay.backup.mariadb.logs import Logs
from backstay.backup.repository import opened, require_holds
from backstay.commands import command
from backstay.errors import BackupError
from backstay.inventory.cloud import Cloud, Host
from backstay.quantities import size
from backstay.transports.restic import Restic
from backstay.transports.restic_output import place_of

_REMEMBERED = 86400.0
_REMOVING = ".removing"
"""What ends the name of the mark of a backup that is being removed."""


class Place:
    """The folder, the repository, the catalogue and the mirrors of a cloud's backups."""

    def __init__(self, cloud: Cloud) -> None:
        self.folder = folder_of(cloud)
        self.repository = repository_of(cloud)
        self._password_file = cloud.backup.password_file
        self._under_way = self.folder / "under-way"
        self.catalogue = Catalogue(self.folder / Catalogue.FOLDER)

    def restic(self) -> Restic:
        """Return the repository; its password is made where there are no backups yet.

        Raises BackupError, also where the folder is not the one that has the backups.
        """
        backups, damaged = self.catalogue.readable()
        file = self._password_file or self.folder / "password"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            if self._password_file is None and not file.exists():
                if backups or damaged:
                    raise self._no_password(file)
                file.touch(mode=0o600)
                file.write_text(secrets.token_urlsafe(32))
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return Restic(self.repository, file, self.folder / "cache")

    def _no_password(self, file: Path) -> BackupError:
        return BackupError(
            f"opening the backup repository {place_of(self.repository)}",
            came_back=f"{file}, the file of its password, is gone, and the catalogue has backups",
            remedy="put it back from its copy: without it nothing in the repository can be read. "
            "No backup was changed",
        )

    async def opened(self) -> StoredIn:
        """Open the repository for a new backup, as ``backup.repository.opened`` has it."""
        return await opened(self.restic(), self.catalogue.backups())

    async def holding(self, backup: Backup) -> Restic:
        """Return the repository once it is known that this backup is in it. Raises BackupError."""
        restic = self.restic()
        others, _ = self.catalogue.readable()
        await require_holds(restic, backup, others)
        return restic

    def record(self, backup: Backup) -> str:
        """Write a backup into the catalogue, and note which folder has it. Raises BackupError.

        Returns why the folder could not be noted, empty where it was: the backup is whole.
        """
        self.catalogue.write(backup)
        try:
            own_folder.note(self.folder)
        except BackupError as error:
            return str(error)
        return ""

    def mirror(self, host: str) -> Mirror:
        """Return the mirror of a host's files."""
        return Mirror(self.folder / "mirror" / host)

    def logs(self, host: str) -> Logs:
        """Return the binary logs that are kept of a host."""
        return Logs(self.folder / "logs" / host)

    def followed(self, host: str) -> FollowedFiles:
        """Return the files of a host that have come since its last backup."""
        return FollowedFiles(self.folder / "followed" / host)

    def scratch(self, name: str) -> Path:
        """Return a folder for one verification, to be removed after it."""
        return self.folder / "scratch" / name

    def begin(self, backup: str) -> None:
        """Note that what is tagged with this name is not whole, until ``end``. Raises BackupError.

        It stays noted when its process is killed: what it has left is then known as its own.
        """
        _mark(self._under_way, backup)

    def end(self, backup: str) -> None:
        """Note that it is whole, and in the catalogue; or gone."""
        (self._under_way / backup).unlink(missing_ok=True)
        (self._under_way / f"{backup}{_REMOVING}").unlink(missing_ok=True)

    def begin_removal(self, backup: str) -> None:
        """Note that this backup is being removed, until ``end``. Raises BackupError."""
        # In a folder that is there already: on a full disk there may be no room for another.
        _mark(self._under_way, f"{backup}{_REMOVING}")

    def removing(self) -> set[str]:
        """Return the names of backups of which data may be left in the repository."""
        marks = self._under_way.glob(f"*{_REMOVING}")
        return {file.name.removesuffix(_REMOVING) for file in marks}

    def unfinished(self) -> set[str]:
        """Return the names of backups that were started and did not end.

        Those of long ago are dropped: a restic whose Backstay was killed may store what it has for
        as long as a step may take.
        """
        if not self._under_way.is_dir():
            return set()
        noted = {
            file.name: file.stat().st_mtime
            for file in self._under_way.iterdir()
            if file.suffix != _REMOVING
        }
        for name, at in noted.items():
            if time.time() - at > _REMEMBERED:
                self.end(name)
        return set(noted)

    def require_room(self, length: int, attempted: str) -> None:
        """Raise BackupError where the folder's disk has no room for so many bytes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < length:
            raise BackupError(
                attempted,
                came_back=f"it needs {size(length)} in {self.folder}, where {size(free)} are free",
                remedy="free space there, or name another `folder` under `backup`",
            )

    def refuse_on(self, host: Host) -> None:
        """Raise BackupError where the repository is on the host that is to be backed up."""
        if self.repository.startswith("sftp:") and f"@{host.address}" in self.repository:
            raise on_itself(host.name, self.repository)


def _mark(folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError as error:
        raise unwritable(folder, error) from error


def _first(folder: Path, error: OSError) -> str:
    """Return what may help before another folder has to be named."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "free space there, or "
    if isinstance(error, PermissionError):
        made = command("install", "-d", "-m", "0700", "-o", str(os.geteuid()), str(folder))
        return f"as root: {made}; or "
    return ""


def unwritable(folder: Path, error: OSError) -> BackupError:
    """Return the error for a folder of backups that cannot be written to."""
    return BackupError(
        f"using {folder} for backups",
        came_back=error.strerror or str(error),
        remedy=f"{_first(folder, error)}name a `folder` under `backup` that this user may write to",
    )


def on_itself(host: str, repository: str) -> BackupError:
    """Return the error for a repository on the host that it would be a backup of."""
    return BackupError(
        f"backing up {host}",
        came_back=f"the repository {repository} is on that host: it would be lost with it",
        remedy="run Backstay on another machine, or name a `repository` elsewhere under `backup`",
    )
