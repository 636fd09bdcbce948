"""The steps by which a backup is taken."""

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from backstay.access.session import CloudSession
from backstay.answers import Count, Line
from backstay.backup import onhost
from backstay.backup.catalogue import Backup
from backstay.backup.files import exported, needed
from backstay.backup.manifest import MOST_BYTES, Manifest, ask_manifest, merged, quoted
from backstay.backup.mariadb import onhost_database
from backstay.backup.mariadb.answers import DatabaseFacts, ExpectedSchemas
from backstay.backup.mariadb.binlog_file import DUMP_HEAD, position_of
from backstay.backup.migrations import expected_heads
from backstay.backup.place import Place, on_itself
from backstay.backup.selection import Selection, contents, migrations, selection
from backstay.errors import BackupError, RemoteFailure
from backstay.inventory.backup import Engine
from backstay.journal.action import Action, Running
from backstay.journal.result import StepResult
from backstay.quantities import size
from backstay.runbooks.backup.steps import (
    DATABASE,
    FILES,
    REPOSITORY,
    BackupRecorded,
    DatabaseStored,
    FilesFetched,
    FilesStored,
    RepositoryOpened,
    StoredPart,
)
from backstay.transports.restic import Restic
from backstay.transports.restic_output import Snapshot, local_path

R = TypeVar("R", bound=StepResult)

TAG = "backstay"
STREAM = "database.mbstream"
DUMP = "database.sql"
SILENCE = 300.0
"""Seconds for which a stream may be silent."""
_TRIES = 3
_ALTERED = "1412"
"""The error of a dump during which a table was altered."""
_CLOCK_SLACK = 2.0
"""Seconds by which a time of MariaDB's may be early: its times have whole seconds."""


@dataclass(frozen=True)
class BackupAction(Action[R]):
    """An action on the backup of a host."""

    site: CloudSession
    place: Place

    def selection(self, host: str) -> Selection:
        """Return what the backup of a host holds."""
        return selection(self.site.cloud, self.site.host(host), self.site.services)


class Repository(BackupAction[RepositoryOpened]):
    """Opens the repository, names the backup, and forgets parts of interrupted backups."""

    async def do(self, running: Running) -> RepositoryOpened:
        """Open it. Raises BackupError, also where it is on the host itself."""
        host = self.site.host(running.step.target)
        self.place.refuse_on(host)
        if local_path(self.place.repository) is not None and await self._is_here(host.name):
            raise on_itself(host.name, self.place.repository)
        stored = await self.place.opened()
        restic = self.place.restic()
        torn = await self._torn(restic)
        await restic.forget(torn, prune=False, bound=running.step.bound)
        # By its time, not by its run: another journal counts its runs from 1, and must neither
        # take an older backup's name nor what is tagged with it.
        backup = f"{host.name}-{datetime.fromtimestamp(running.started, UTC):%Y%m%dT%H%M%SZ}"
        self.place.begin(backup)
        parts = "1 part" if len(torn) == 1 else f"{len(torn)} parts"
        return RepositoryOpened(
            began=running.started,
            backup=backup,
            torn=tuple(torn),
            stored=stored,
            summary=f"forgot {parts} of interrupted backups" if torn else "",
        )

    async def _torn(self, restic: Restic) -> list[str]:
        """Return the snapshots of backups that were started and are not in the catalogue.

        Those started from another folder are left alone: several clouds may share a repository,
        and it may outlive a catalogue.
        """
        started_at = self.place.unfinished() | self.place.removing()
        named = {
            snapshot
            for backup in self.place.catalogue.backups()
            for snapshot in backup.snapshots.values()
        }
        there = await restic.snapshots(TAG)
        return [one.id for one in there if one.tags & started_at and one.id not in named]

    async def _is_here(self, host: str) -> bool:
        """Return whether the host is this machine: they then have one boot id."""
        theirs = await self.site.ask(host, onhost.boot_id, returns=dict[str, Line])
        return bool(theirs.get("boot_id") == onhost.boot_id()["boot_id"])


class _Fetching(BackupAction[R]):
    """Brings a host's files into the mirror on this machine."""

    async def fetch(self, running: Running) -> tuple[Manifest, int]:
        """Fetch what the mirror lacks, and again what changed meanwhile.

        Returns the host's manifest and how many files were fetched. Raises BackupError, HostError.
        """
        host = running.host
        chosen, mirror = self.selection(host), self.place.mirror(host)
        fetched = 0
        for left in reversed(range(_TRIES)):
            manifest = await ask_manifest(
                self.site, host, chosen.paths, chosen.leave_out, bound=SILENCE
            )
            need = set(needed(manifest.entries, mirror.known()).fetch)
            if not need:
                break
            fetched += len(need)
            running.report(f"{len(need)} files are new or changed")
            coming = [entry for entry in manifest.entries if entry.path in need]
            length = sum(entry.size for entry in coming)
            self.place.require_room(length, f"bringing {len(coming)} files of {host} here")
            # What grows all the time is taken as long as it was when it was listed.
            async with mirror.extracting(coming, host=host, grown=not left) as take:
                await self.site.stream(
                    host,
                    onhost.send_files,
                    [quoted(entry.path) for entry in coming],
                    list(chosen.paths),
                    receive=take,
                    silence=SILENCE,
                )
            # A file that went away, or grew, while it was read is seen in the next round.
            if mirror.has(manifest.entries):
                break
        if manifest.left_out.count:
            some = "; ".join(manifest.left_out.some)
            running.report(f"{manifest.left_out.count} files cannot be backed up: {some}")
        return manifest, fetched


class Bring(_Fetching[FilesFetched]):
    """Brings the host's files into the mirror, ahead of the database."""

    async def do(self, running: Running) -> FilesFetched:
        """Fetch what is new, and forget what is gone. Raises BackupError, HostError."""
        mirror = self.place.mirror(running.host)
        manifest, fetched = await self.fetch(running)
        mirror.forget(needed(manifest.entries, mirror.known()).remove)
        mirror.note(manifest)
        files = "1 file was" if fetched == 1 else f"{fetched} files were"
        return FilesFetched(fetched=fetched, summary=f"{files} new or changed{_left_out(manifest)}")


class Files(_Fetching[FilesStored]):
    """Brings what is new since the database was read, and stores the mirror.

    Every file that a record of the database names is in the backup then: files created before the
    database was read are fetched now, files deleted since were fetched before.
    """

    async def do(self, running: Running) -> FilesStored:
        """Fetch, retain files deleted meanwhile, and store. Raises BackupError, HostError."""
        host = running.host
        mirror = self.place.mirror(host)
        before = mirror.known()
        manifest, _ = await self.fetch(running)
        gone = [entry for entry in before if entry.kind == "f"]
        manifest = replace(manifest, entries=merged(gone, manifest.entries))
        mirror.note(manifest)
        chosen = self.selection(host)
        exports = await self._exports(host, chosen)
        mirror.export(exports)
        sizes: dict[str, int] = {}
        if chosen.databases:
            sizes = await self.site.ask(
                host,
                onhost_database.database_sizes,
                list(chosen.databases),
                returns=dict[str, Count],
            )
        stored = await self.place.restic().backup(
            mirror.folder, host=host, tags=_tags(running, "files"), bound=running.step.bound
        )
        count = len(manifest.regular())
        texts = {name: text.decode(errors="replace") for name, text in exports.items()}
        return FilesStored(
            snapshot=stored.id,
            size=stored.size,
            added=stored.added,
            files=count,
            packages=len(manifest.packages),
            machine=asdict(manifest.machine),
            contents=contents(manifest.entries, self.site.services, texts, sizes),
            summary=f"{count} files, {size(stored.size)}, {size(stored.added)} new"
            + _left_out(manifest),
        )

    async def _exports(self, host: str, chosen: Selection) -> dict[str, bytes]:
        """Ask for what the host's programs export, of those services that have any."""
        if not chosen.exports:
            return {}
        commands = {name: list(command) for name, command in chosen.exports.items()}
        answer = await self.site.ask(
            host, onhost.exported, commands, returns=dict[str, str], most=MOST_BYTES
        )
        return exported(host, list(commands), answer)


def _left_out(manifest: Manifest) -> str:
    """Return the end of a sentence on files that cannot be backed up, empty if there are none."""
    count = manifest.left_out.count
    return (
        f", {count} cannot be backed up: {'; '.join(manifest.left_out.some[:3])}" if count else ""
    )


class Database(BackupAction[DatabaseStored]):
    """Streams the databases into the repository, by the engine of cloud.yaml."""

    async def do(self, running: Running) -> DatabaseStored:
        """Stream them; tables are read before and after. Raises BackupError, HostError."""
        host, engine = running.host, self.site.cloud.backup.engine
        databases = list(self.selection(host).databases)
        before = await self._facts(host, databases, since=0)
        versions = {name: one.versions for name, one in migrations(self.site.services).items()}
        release = await self.site.ask(host, expected_heads, versions, returns=ExpectedSchemas)
        if engine is Engine.DUMP:
            stored, position = await self._dump(running)
            whole = stored.size
        else:
            stored, _, log = await self._store(running, STREAM, onhost_database.send_database)
            position, whole = position_in(log), length_in(log)
        after = await self._facts(host, databases, since=before.clock - _CLOCK_SLACK)
        return DatabaseStored(
            snapshot=stored.id,
            size=whole,
            added=stored.added,
            engine=engine,
            facts={
                "version": before.version,
                "schemas": before.schemas,
                "release": asdict(release),
                "position": position,
                "logs": after.logs,
                "rows_before": before.rows,
                "rows_after": after.rows,
                "touched": after.touched,
                "grants": sorted(set(before.grants) & set(after.grants)),
                "databases": databases,
            },
            summary=f"{len(before.rows)} tables, {size(whole)}, {size(stored.added)} new",
        )

    async def _facts(self, host: str, databases: list[str], *, since: float) -> DatabaseFacts:
        return await self.site.ask(
            host, onhost_database.database_facts, databases, since, returns=DatabaseFacts
        )

    async def _store(
        self, running: Running, name: str, function: Callable[[], None]
    ) -> tuple[Snapshot, bytes, str]:
        """Store what a function writes on the host.

        Returns also the start of what it wrote, and its standard error. Raises HostError.
        """
        host, head = running.step.target, bytearray()
        receiving = self.place.restic().receiving(name, host=host, tags=_tags(running, "database"))
        async with receiving as (send, found):

            async def receive(data: bytes) -> None:
                if len(head) < DUMP_HEAD:
                    head.extend(data)
                await send(data)

            log = await self.site.stream(host, function, receive=receive, silence=SILENCE)
        return found[name], bytes(head), log

    async def _dump(self, running: Running) -> tuple[Snapshot, list[str]]:
        """Store a dump; return also its position. Dumps again where a table was altered meanwhile.

        Raises HostError.
        """
        left = _TRIES
        while True:
            left -= 1
            try:
                stored, head, _ = await self._store(running, DUMP, onhost_database.send_dump)
            except RemoteFailure as error:
                if not left or _ALTERED not in error.came_back:
                    raise
                running.report("a table was altered meanwhile: dumping again")
            else:
                return stored, position_of(head)


def position_in(log: str) -> list[str]:
    """Return binary log and position in mariadb-backup's output; empty without a log. Pure.

    The position is that of the backup itself, at which no transaction was in progress.
    """
    found = re.search(
        r"binlog position: filename '([\w.-]{1,255})', position '(\d{1,18})'", log, re.ASCII
    )
    return list(found.groups()) if found else []


def length_in(log: str) -> int:
    """Return the uncompressed bytes of a hot backup: what a restore needs room for. Pure."""
    found = re.search(r"^uncompressed: ([0-9]{1,18})$", log, re.MULTILINE)
    return int(found[1]) if found else 0


class Record(BackupAction[BackupRecorded]):
    """Writes the backup into the catalogue: only now it counts as one."""

    async def do(self, running: Running) -> BackupRecorded:
        """Write it. Raises BackupError, also where a later run has forgotten parts of it."""
        backup = backup_of(running, now=time.time())
        await self.place.holding(backup)  # another disk may have been mounted meanwhile
        there = {one.id for one in await self.place.restic().snapshots(TAG)}
        if not there.issuperset(backup.snapshots.values()):
            raise BackupError(
                f"recording {backup.name}",
                came_back="parts of it are no longer in the repository: a later backup has "
                "forgotten them, as this one was interrupted",
                remedy=f"backstay runs abandon {running.run}; then: backstay backup create "
                f"{backup.host}",
            )
        if missed := self.place.record(backup):
            running.report(missed)
        self.place.end(backup.name)
        return BackupRecorded(backup=backup.name, summary=backup.name)


def backup_of(running: Running, *, now: float) -> Backup:
    """Return the backup that the steps of this run have taken of the step's host. Pure.

    ``now`` is when it is complete, in Unix seconds. Raises JournalError where a step is not done.
    """
    opened, files = running.result(REPOSITORY), running.result(FILES)
    database = running.find(DATABASE)
    parts: dict[str, StoredPart] = {"files": files} | ({"database": database} if database else {})
    return Backup(
        name=opened.backup,
        cloud=running.plan.cloud,
        host=running.host,
        taken_at=opened.began,
        seconds=round(now - opened.began, 1),
        snapshots={name: part.snapshot for name, part in parts.items()},
        stored=opened.stored,
        sizes={name: part.size for name, part in parts.items()},
        added={name: part.added for name, part in parts.items()},
        files=files.files,
        packages=files.packages,
        machine=files.machine,
        engine=database.engine if database else Engine.PHYSICAL,
        contents=files.contents,
        facts=database.facts if database else {},
    )


def _tags(running: Running, part: str) -> list[str]:
    return [TAG, part, running.result(REPOSITORY).backup]
