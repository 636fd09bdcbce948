"""What the steps of a restore share: which backup, which services, and where things are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backstay.access.session import CloudSession
from backstay.backup.catalogue import Backup
from backstay.backup.place import Place
from backstay.backup.restorable import paths_of
from backstay.backup.restore_point import RestorePoint
from backstay.backup.selection import IDENTITY
from backstay.journal.action import Action, R, Running
from backstay.runbooks.restore.plan import RestoreOptions, has_databases, services_of, straight
from backstay.runbooks.restore.steps import LOOK, REBUILD
from backstay.services.declaration import Service

SILENCE = 300.0
"""Seconds for which a stream may stand still."""


@dataclass(frozen=True)
class RestoreAction(Action[R]):
    """A step of a restore. Each is safe to repeat, so none probes what is there already."""

    site: CloudSession
    place: Place

    def context(self, running: Running) -> "RestoreContext":
        """Return the restore of this run. Raises BackupError where its backup is gone."""
        settings = running.plan.settings
        wish = RestoreOptions(
            backup=self.place.catalogue.named(settings["backup"]),
            to=RestorePoint.from_document(settings["to"]),
            service=settings["service"],
        )
        inspected, rebuilt = running.find(LOOK), running.find(REBUILD)
        # A runbook that fetches before the host can be inspected has chosen the mark itself, and
        # has made the databases here.
        mark = (inspected.mark if inspected else "") or settings.get("mark", "")
        fills = bool(inspected and inspected.fills) and (rebuilt is None or rebuilt.on_host)
        return restore_context(self.site, self.place, wish, mark=mark, fills=fills)


def restore_context(
    site: CloudSession, place: Place, wish: RestoreOptions, *, mark: str, fills: bool = False
) -> "RestoreContext":
    """Return a restore of what was chosen; ``mark`` is in the names of its places.

    ``fills``: the host can make its databases of the backup itself.
    """
    return RestoreContext(
        mark=mark,
        proved=straight(wish),
        fills=fills,
        backup=wish.backup,
        to=wish.to,
        service=wish.service,
        services=services_of(site.cloud, wish.backup.host, site.services, wish.service),
        work=place.folder / "restore" / mark,
        more=site.cloud.backup.paths,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreContext:
    """One restore. ``service`` is empty for a whole host; ``work`` is its folder here.

    ``proved``: the databases need no scratch server here; ``fills``: the host can make them of the
    backup itself. ``mark`` is in the name of every place that it makes: no other restore has it,
    not one of a lost journal either, so nothing of theirs is taken for its own.
    """

    mark: str
    backup: Backup
    to: RestorePoint
    service: str
    services: Sequence[Service]
    work: Path
    proved: bool = False
    fills: bool = False
    more: Sequence[str] = ()

    @property
    def straight(self) -> bool:
        """Return whether the host makes its databases of the backup itself."""
        return self.proved and self.fills

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
        return f"/var/lib/backstay/restore/{self.mark}"

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files and folders of the host that are put back."""
        return paths_of(self.services, () if self.service else (*IDENTITY, *self.more))

    @property
    def has_databases(self) -> bool:
        """Return whether databases are restored."""
        return has_databases(self.backup, self.services, self.service)

    @property
    def all_databases(self) -> list[str]:
        """Return the databases that the backup has."""
        rows = self.backup.facts.get("rows_before", {})
        return sorted({table.partition(".")[0] for table in rows})

    @property
    def databases(self) -> list[str]:
        """Return those of them that are the services' own."""
        there = self.all_databases
        return [name for one in self.services for name in one.databases if name in there]

    def restored_name(self, database: str) -> str:
        """Return the name under which a database is loaded before it takes its place."""
        return f"{database}__restored"

    def kept_name(self, database: str) -> str:
        """Return the name under which the database that was there is kept."""
        return f"{database}__before_{self.mark.replace('-', '_')}"
