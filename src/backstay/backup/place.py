"""Where a cloud's backups are on this machine."""

import secrets
from pathlib import Path

from backstay.backup.catalogue import Catalogue
from backstay.backup.files import Mirror
from backstay.backup.logs import Logs
from backstay.errors import BackupError
from backstay.inventory.cloud import Cloud, Host
from backstay.journal.place import folder as own_folder
from backstay.transports.restic import Restic


class Place:
    """The folder, the repository, the catalogue and the mirrors of a cloud's backups."""

    def __init__(self, cloud: Cloud) -> None:
        self.folder = cloud.backup.folder or own_folder() / "backups" / cloud.name
        self.repository = cloud.backup.repository or str(self.folder / "repository")
        self._password_file = cloud.backup.password_file
        self.catalogue = Catalogue(self.folder / "catalogue")

    def restic(self) -> Restic:
        """Return the repository; its password is made where there is none. Raises BackupError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            file = self._password_file or self.folder / "password"
            if self._password_file is None and not file.exists():
                file.touch(mode=0o600)
                file.write_text(secrets.token_urlsafe(32))
        except OSError as error:
            raise BackupError(
                f"using {self.folder} for backups",
                came_back=error.strerror or str(error),
                remedy="name a folder that this user may write to: `folder` under `backup`",
            ) from error
        return Restic(self.repository, file, self.folder / "cache")

    def mirror(self, host: str) -> Mirror:
        """Return the mirror of a host's files."""
        return Mirror(self.folder / "mirror" / host)

    def logs(self, host: str) -> Logs:
        """Return the binary logs that are kept of a host."""
        return Logs(self.folder / "logs" / host)

    def scratch(self, name: str) -> Path:
        """Return a folder for one verification, to be removed after it."""
        return self.folder / "scratch" / name

    def refuse_on(self, host: Host) -> None:
        """Raise BackupError where the repository is on the host that is to be backed up."""
        if self.repository.startswith("sftp:") and f"@{host.address}" in self.repository:
            raise on_itself(host.name, self.repository)


def on_itself(host: str, repository: str) -> BackupError:
    """Return the error for a repository on the host that it would be a backup of."""
    return BackupError(
        f"backing up {host}",
        came_back=f"the repository {repository} is on that host: it would be lost with it",
        remedy="run Backstay on another machine, or name a `repository` elsewhere under `backup`",
    )
