"""What the steps of a restore share: which backup, which services, and where things are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backstay.backup.catalogue import Backup
from backstay.backup.choice import Moment
from backstay.backup.place import Place
from backstay.backup.restorable import identity, paths_of
from backstay.journal.action import Result, Running
from backstay.runbooks.restore.plan import has_databases, services_of
from backstay.runbooks.site import Site
from backstay.services.declaration import Service

SILENCE = 300.0
"""Seconds for which a stream may stand still."""


class Restoring:
    """A step of a restore. Each is safe to repeat, so none asks the world what is there already."""

    def __init__(self, site: Site, place: Place) -> None:
        self.site = site
        self.place = place

    async def probe(self, running: Running) -> Result | None:
        """Do it again."""
        return None

    def about(self, running: Running) -> "About":
        """Return what this run is about. Raises BackupError where its backup is gone."""
        settings = running.plan.settings
        backup = self.place.catalogue.named(settings["backup"])
        services = services_of(
            self.site.cloud, backup.host, self.site.services, settings["service"]
        )
        return About(
            run=running.run,
            backup=backup,
            to=Moment.from_document(settings["to"]),
            service=settings["service"],
            services=services,
            work=self.place.folder / "restore" / running.run,
            more=self.site.cloud.backup.paths,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """One restore. ``service`` is empty for a whole host; ``work`` is its folder here."""

    run: str
    backup: Backup
    to: Moment
    service: str
    services: Sequence[Service]
    work: Path
    more: Sequence[str] = ()

    @property
    def files(self) -> Path:
        """Return the folder into which the backup's files are brought."""
        return self.work / "files"

    @property
    def scratch(self) -> Path:
        """Return the folder of the scratch server."""
        return self.work / "scratch"

    @property
    def dumps(self) -> Path:
        """Return the folder of the dumps of one service's databases."""
        return self.work / "dumps"

    @property
    def staging(self) -> str:
        """Return the folder on the host into which files are sent."""
        return f"/var/lib/backstay/restore/{self.run}"

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files and folders of the host that are put back."""
        return paths_of(self.services, () if self.service else (*identity(), *self.more))

    @property
    def has_databases(self) -> bool:
        """Say whether databases are restored."""
        return has_databases(self.backup, self.services, self.service)

    @property
    def databases(self) -> list[str]:
        """Return the databases of one service that the backup has."""
        rows = self.backup.facts.get("rows_before", {})
        there = {table.partition(".")[0] for table in rows}
        return [name for one in self.services for name in one.databases if name in there]

    def restored_name(self, database: str) -> str:
        """Return the name under which a database is loaded before it takes its place."""
        return f"{database}__restored"

    def kept_name(self, database: str) -> str:
        """Return the name under which the database that was there is kept."""
        return f"{database}__before_{self.run.replace('-', '_')}"
