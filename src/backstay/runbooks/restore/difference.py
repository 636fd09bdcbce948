"""What a restore would change on the host: asked, and nothing done."""

from collections.abc import Mapping
from dataclasses import dataclass

from backstay.access.session import CloudSession
from backstay.backup.manifest import MANIFEST, of_backup
from backstay.backup.mariadb import onhost_database
from backstay.backup.mariadb.answers import DatabaseFacts
from backstay.backup.place import Place
from backstay.backup.restorable import changed, chosen
from backstay.errors import HostError
from backstay.runbooks.restore.context import SILENCE, RestoreContext, restore_context
from backstay.runbooks.restore.plan import RestoreOptions
from backstay.runbooks.restore.upload import files_there


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Paths of files and folders that would change; of tables the rows now, and in the backup.

    ``unknown`` is what the host could not be asked.
    """

    files: list[str]
    folders: list[str]
    tables: Mapping[str, tuple[int | None, int]]
    unknown: list[str]


async def difference(site: CloudSession, place: Place, wish: RestoreOptions) -> Difference:
    """Compare a backup with the host as it is. Raises BackupError."""
    this = restore_context(site, place, wish, mark="")
    unknown: list[str] = []
    files, folders = await _files(site, place, this, unknown)
    tables = await _tables(site, this, unknown) if this.has_databases else {}
    return Difference(files=files, folders=folders, tables=tables, unknown=unknown)


async def _files(
    site: CloudSession, place: Place, this: RestoreContext, unknown: list[str]
) -> tuple[list[str], list[str]]:
    text = bytearray()

    async def receive(data: bytes) -> None:
        text.extend(data)

    snapshot = this.backup.snapshot("files")
    await place.restic().dump(snapshot, f"/{MANIFEST}", receive, silence=SILENCE)
    wanted = chosen(of_backup(bytes(text), backup=this.backup.name), this.paths)
    try:
        entries = changed(wanted, await files_there(site, this))
    except HostError as error:
        unknown.append(f"files: {error}")
        return [], []
    return [e.path for e in entries if e.kind != "d"], [e.path for e in entries if e.kind == "d"]


async def _tables(
    site: CloudSession, this: RestoreContext, unknown: list[str]
) -> dict[str, tuple[int | None, int]]:
    backup, names = this.backup, this.databases if this.service else this.all_databases
    try:
        answer = await site.ask(
            backup.host,
            onhost_database.database_facts,
            names,
            0,
            returns=DatabaseFacts,
            bound=SILENCE,
        )
    except HostError as error:
        unknown.append(f"databases: {error}")
        return {}
    now = answer.rows
    rows = backup.facts["rows_after"]
    return {
        table: (now.get(table), count)
        for table, count in rows.items()
        if table.partition(".")[0] in names and now.get(table) != count
    }
