"""The step that proves a backup: it is restored into a scratch server, and checked there."""

import hashlib
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backstay.answers import clean
from backstay.backup import proof
from backstay.backup.catalogue import Backup, State
from backstay.backup.files import CONTENT
from backstay.backup.manifest import Files, in_folder
from backstay.backup.mariadb.scratch import Scratch
from backstay.backup.restorable import chosen
from backstay.backup.selection import invariants, migrations
from backstay.beneath import Folder, UnsafeName, inside
from backstay.errors import BackupError, DamagedBackup
from backstay.inventory.backup import Engine
from backstay.journal.action import Running
from backstay.quantities import duration, size
from backstay.runbooks.backup.steps import RECORD, BackupProved, StoredDump
from backstay.runbooks.backup.take import DUMP, SILENCE, STREAM, TAG, BackupAction
from backstay.transports.restic import Restic

_FULL = 16 << 20
"""Bytes; where fewer are free, what a program could not write is missing too."""
_SCRATCH = 256 << 20
"""Bytes that a scratch server needs in addition to its data."""


class Verify(BackupAction[BackupProved]):
    """Proves a backup, and writes the result into the catalogue."""

    async def do(self, running: Running) -> BackupProved:
        """Prove it. Raises BackupError where that fails.

        The backup's state is ``failed`` then only where that is evidence against it: where its own
        repository can be read, and what is in it is not what was stored. All else that keeps it
        from being proved leaves the state as it is.
        """
        name = running.step.arguments["backup"] or running.result(RECORD).backup
        backup = self.place.catalogue.named(name)
        try:
            await self.place.holding(backup)
            self.place.require_room(_room(backup), f"proving the backup {backup.name}")
            self.place.begin(backup.name)
            found = await self._proof(backup, running)
        except DamagedBackup as error:
            if why := await self._no_evidence(backup):
                raise _unproved(backup, error, f"; {why}") from error
            failed = {"at": time.time(), "problems": [str(error)]}
            self.place.catalogue.write(backup.proved(State.FAILED, failed))
            raise
        except BackupError as error:
            raise _unproved(backup, error) from error
        state = State.FAILED if found.problems else State.VERIFIED
        proved = _with_dump(backup, found.dump).proved(state, _catalogue_entry(found))
        self.place.catalogue.write(proved)
        replaced = set(backup.snapshots.values()) - set(proved.snapshots.values())
        restic = self.place.restic()
        await restic.forget(sorted(replaced), prune=False, bound=running.step.bound)
        self.place.end(backup.name)
        if found.problems:
            raise BackupError(
                f"proving the backup {backup.name}",
                came_back="; ".join(found.problems[:5]),
                remedy="fix this on the host, then: backstay backup create "
                f"{backup.host} --verify; existing backups are unchanged",
            )
        return found

    async def _no_evidence(self, backup: Backup) -> str:
        """Return why what was found may not be the backup's fault, empty where it is.

        A disk that goes away meanwhile looks as if data were missing, a full one as if they were
        wrong.
        """
        try:
            await self.place.holding(backup)
            free = shutil.disk_usage(self.place.folder).free
        except BackupError as error:
            return f"the repository cannot be read any more: {error.came_back}"
        except OSError as error:
            return f"{self.place.folder}: {error.strerror or error}"
        return f"only {size(free)} are free in {self.place.folder}" if free < _FULL else ""

    async def _proof(self, backup: Backup, running: Running) -> BackupProved:
        restic = self.place.restic()
        running.report("reading all data of the repository")
        await restic.check(read_data=True, bound=running.step.bound)
        scratch, dump = Scratch(self.place.scratch(backup.name)), None
        proved_at = time.time()
        try:
            files = scratch.folder / "files"
            started = time.monotonic()
            await restic.restore(backup.snapshot("files"), files, bound=running.step.bound)
            problems = missing_files(files)
            if "database" in backup.snapshots:
                running.report("restoring the databases into a scratch server")
                await rebuild(restic, scratch, backup, bound=running.step.bound, silence=SILENCE)
            took = round(time.monotonic() - started, 1)
            if "database" in backup.snapshots:
                running.report("checking the restored databases")
                problems += await self._database_problems(scratch, backup, files, running)
                if backup.engine is not Engine.DUMP:
                    dump = await self._dump(scratch, backup)
        finally:
            await scratch.close()
        return BackupProved(
            backup=backup.name,
            at=proved_at,
            problems=tuple(problems),
            restore_seconds=took,
            dump=dump,
            summary=f"{backup.name} is verified: restored in {duration(took)}",
        )

    async def _database_problems(
        self, scratch: Scratch, backup: Backup, files: Path, running: Running
    ) -> list[str]:
        facts = backup.facts
        there = [name for name in facts["databases"] if _has(facts["rows_before"], name)]
        problems = await scratch.check_tables(there, bound=running.step.bound)
        rows = await proof.count_rows(scratch.query, list(facts["rows_before"]))
        problems += proof.lost_rows(
            facts["rows_before"], facts["rows_after"], rows, facts["touched"]
        )
        problems += await proof.lost_grants(scratch.query, facts.get("grants", ()))
        heads = await proof.schema_heads(scratch.query, there)
        problems += proof.other_schemas(facts["schemas"], heads)
        expected = facts.get("release", {}).get("heads", {})
        problems += proof.outdated_schemas(expected, heads, migrations(self.site.services))
        holds = invariants(self.site.cloud, self.site.services)
        problems += await proof.broken_invariants(scratch.query, holds)
        for service in self.site.services:
            if service.stored_files and service.databases[0] in there:
                lines = await scratch.query(service.stored_files)
                problems += wrong_files(files / CONTENT, [line.split("\t") for line in lines])
        return problems

    async def _dump(self, scratch: Scratch, backup: Backup) -> StoredDump:
        """Store the portable form: it costs the controller nothing, and deduplicates."""
        databases = [n for n in backup.facts["databases"] if _has(backup.facts["rows_before"], n)]
        restic, tags = self.place.restic(), [TAG, "dump", backup.name]
        async with restic.receiving(DUMP, host=backup.host, tags=tags) as (send, found):
            await scratch.dump(databases, send, silence=SILENCE)
        stored = found[DUMP]
        return StoredDump(snapshot=stored.id, size=stored.size, added=stored.added)


def _unproved(backup: Backup, error: BackupError, more: str = "") -> BackupError:
    """Return the error for a backup of which no more is known than before."""
    return BackupError(
        f"proving the backup {backup.name}",
        came_back=f"{error.attempted}: {error.came_back}{more}. Nothing was learnt of the backup: "
        f"it stays `{backup.state}`",
        remedy=error.remedy,
    )


def _with_dump(backup: Backup, dump: StoredDump | None) -> Backup:
    if dump is None:
        return backup
    return backup.with_part("dump", dump.snapshot, dump.size, dump.added)


def _catalogue_entry(found: BackupProved) -> dict[str, Any]:
    """Return a verification as the catalogue stores it (``Backup.proof``)."""
    stored = {
        "at": found.at,
        "problems": list(found.problems),
        "restore_seconds": found.restore_seconds,
    }
    return stored if found.dump is None else stored | {"dump": asdict(found.dump)}


def _room(backup: Backup) -> int:
    """Return about how many bytes a restore of it takes."""
    databases = sum(sum(group["databases"].values()) for group in backup.contents.values())
    stored = backup.sizes.get("database", 0)
    return backup.sizes["files"] + max(stored, databases) + _SCRATCH * ("database" in backup.sizes)


def missing_files(restored: Path, paths: Sequence[str] | None = None) -> list[str]:
    """Return what is wrong with files that were restored: incomplete, not there, of another kind.

    With ``paths`` only these, and what lies below them, are compared with the manifest. Where the
    content holds anything but files and folders, as a link, that is wrong in any case. Raises
    BackupError where the manifest cannot be read.
    """
    files: Files = in_folder(restored, backup=str(restored))
    entries = files.entries if paths is None else chosen(files, paths).entries
    wanted = [entry for entry in entries if entry.kind == "f"]
    try:
        with Folder.open(restored / CONTENT) as content:
            lost = [one.path for one in wanted if content.size(one.inside) != one.size]
            odd = [name for name, status in content.walk() if not _is_plain(status.st_mode)]
    except FileNotFoundError:
        lost, odd = [one.path for one in wanted], []
    except OSError as error:
        return [f"{restored / CONTENT} cannot be read: {error.strerror or error}"]
    found = []
    if lost:
        count = "1 file is" if len(lost) == 1 else f"{len(lost)} files are"
        found.append(f"{count} missing or incomplete: {_named(lost)}")
    if odd:
        found.append(f"{len(odd)} are neither files nor folders: {_named(odd)}")
    return found


def _is_plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _named(names: Sequence[str]) -> str:
    return ", ".join(ascii(name)[1:-1] for name in names[:3])


DIGESTS = frozenset(("md5", "sha1", "sha224", "sha256", "sha384", "sha512"))
"""Those that a record may name."""


def wrong_files(content: Path, named: Sequence[Sequence[str]]) -> list[str]:
    """Return the files that records name and that are not there or have another digest.

    ``named`` are path, name of the digest, and digest, as the database has them: a path that leads
    out of ``content`` is the path of no file.
    """
    wrong = []
    with Folder.open(content, make=True) as folder:
        for record in named:
            if len(record) != 3 or record[1] not in DIGESTS:
                wrong.append(f"a record names no file: {clean(' '.join(record), longest=100)}")
                continue
            path, algorithm, digest = record
            try:
                with folder.read(inside(path)) as data:
                    found = hashlib.file_digest(data, algorithm).hexdigest()
            except (OSError, UnsafeName):
                wrong.append(f"{clean(path, longest=200)} is missing")
                continue
            if found != digest:
                wrong.append(f"{clean(path, longest=200)} has another digest than its record")
    return wrong


def _has(rows: Mapping[str, int], database: str) -> bool:
    return any(table.startswith(f"{database}.") for table in rows)


async def rebuild(
    restic: Restic, scratch: Scratch, backup: Backup, *, bound: float, silence: float
) -> None:
    """Fill the scratch server from the backup and start it. Raises BackupError.

    ``silence`` is for how many seconds the repository may send nothing.
    """
    dumped = backup.engine is Engine.DUMP
    async with scratch.loading() if dumped else scratch.filling() as writer:

        async def receive(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        name = f"/{DUMP if dumped else STREAM}"
        await restic.dump(backup.snapshot("database"), name, receive, silence=silence)
    if not dumped:
        await scratch.prepare(bound=bound)
    await scratch.serve()
