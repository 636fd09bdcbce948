"""The steps of a restore that are made on this machine, before the host is touched."""

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backstay.answers import clean
from backstay.backup import onhost_restore, proof
from backstay.backup.files import CONTENT
from backstay.backup.manifest import MANIFEST, Entry, Files, in_folder, merged
from backstay.backup.mariadb import HOT_BACKUP
from backstay.backup.mariadb import onhost_restore as onhost_fill
from backstay.backup.mariadb.logs import joined
from backstay.backup.mariadb.scratch import Scratch
from backstay.backup.mariadb.sql import literal
from backstay.backup.restorable import chosen
from backstay.backup.restore_point import losses, stream_of
from backstay.backup.selection import invariants
from backstay.beneath import Folder, UnsafeName, inside
from backstay.errors import BackupError
from backstay.journal.action import Running
from backstay.quantities import duration, size
from backstay.runbooks.backup.prove import missing_files, rebuild
from backstay.runbooks.backup.take import STREAM
from backstay.runbooks.restore.context import SILENCE, RestoreAction, RestoreContext
from backstay.runbooks.restore.steps import LOOK, DatabasesRebuilt, FilesFetched, LogReplayed


class Fetch(RestoreAction[FilesFetched]):
    """Brings the backup's files here."""

    async def do(self, running: Running) -> FilesFetched:
        """Read them from the repository; what cannot be read whole ends it. Raises BackupError."""
        context, started = self.context(running), time.monotonic()
        shutil.rmtree(context.files, ignore_errors=True)
        context.work.mkdir(parents=True, exist_ok=True)
        context.work.chmod(0o700)
        only = ["/manifest.json", "/exports", *(f"/content{path}" for path in context.paths)]
        snapshot = context.backup.snapshot("files")
        await self.place.restic().restore(
            snapshot, context.files, bound=running.step.bound, only=only
        )
        problems = missing_files(context.files, context.paths)
        if problems:
            raise BackupError(
                f"reading the backup {context.backup.name}",
                came_back="; ".join(problems),
                remedy="choose another backup: backstay backup list",
            )
        newer = self._overlay(context)
        return FilesFetched(
            seconds=round(time.monotonic() - started, 1),
            newer=newer,
            summary=f"and {newer} files that came with the stream since" if newer else "",
        )

    def _overlay(self, context: RestoreContext) -> int:
        """Put those followed files that are newer than the backup's over them; return how many."""
        store = self.place.followed(context.backup.host).mirror
        manifest = in_folder(context.files, backup=context.backup.name)
        there = {entry.path: (entry.size, entry.when) for entry in manifest.entries}
        come = Files(entries=[entry for entry in store.known() if entry.kind == "f"])
        started = context.backup.taken_at * 10**9
        newer = [
            entry
            for entry in chosen(come, context.paths).entries
            if entry.when >= started and there.get(entry.path) != (entry.size, entry.when)
        ]
        if not newer:
            return 0
        try:
            copy_files(store.content, context.files / CONTENT, newer)
            names = store.names()
            document = replace(
                manifest,
                entries=merged(manifest.entries, newer),
                users={**names.users, **manifest.users},
                groups={**names.groups, **manifest.groups},
            ).document()
            with Folder.open(context.files) as folder:
                folder.write(MANIFEST, json.dumps(document).encode())
        except OSError as error:
            raise BackupError(
                f"adding the files that came with the stream to {context.backup.name}",
                came_back=f"{error.filename or context.files}: {error.strerror or error}",
                remedy="see the free space on this machine; the host is untouched",
            ) from error
        return len(newer)


def copy_files(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Copy the contents of files from one folder to the other, following no link in either.

    Raises OSError, also where a content is not a regular file.
    """
    with Folder.open(source) as here, Folder.open(target, make=True) as there:
        for entry in entries:
            with here.read(entry.inside) as old, there.create(entry.inside) as new:
                shutil.copyfileobj(old, new, 1 << 20)


class Rebuild(RestoreAction[DatabasesRebuilt]):
    """Rebuilds the databases: the host gets only what was checked."""

    async def do(self, running: Running) -> DatabasesRebuilt:
        """Make them on the host where that is as safe, else here. Raises BackstayError."""
        context, started = self.context(running), time.monotonic()
        rebuilt = await (self._on_host if context.straight else self._here)(context, running)
        seconds = round(time.monotonic() - started, 1)
        lines = [f"restored in {duration(seconds)}", *rebuilt.remarks]
        lacking = running.find(LOOK) is not None and context.proved and not context.fills
        lines += [f"here, for the host has no {HOT_BACKUP}"] * lacking
        return replace(rebuilt, seconds=seconds, summary="; ".join(lines))

    def _losses(self, context: RestoreContext) -> tuple[str, ...]:
        """Return sentences on what is lost from the databases, as far as is known now."""
        stream = stream_of(context.backup, self.place.logs(context.backup.host))
        return tuple(losses(context.backup, context.to, stream, now=datetime.now(UTC)))

    async def _on_host(self, context: RestoreContext, running: Running) -> DatabasesRebuilt:
        """Let the host make a data directory beside the one in use. Raises BackstayError."""
        host = running.step.target
        inspected = running.result(LOOK)
        running.report(f"making the databases on {host}")
        backup = context.backup
        content = self.place.restic().content(
            backup.snapshot("database"), f"/{STREAM}", silence=SILENCE
        )
        async with contextlib.aclosing(content) as data:
            await self.site.send(
                host,
                onhost_fill.fill,
                f"{inspected.beside}/{onhost_restore.NEW}",
                inspected.owner,
                data=data,
                silence=running.step.bound,
            )
        return DatabasesRebuilt(on_host=True, replayed=LogReplayed(losses=self._losses(context)))

    async def _here(self, context: RestoreContext, running: Running) -> DatabasesRebuilt:
        """Restore, replay, check; leave a data directory, or dumps of one service's databases."""
        shutil.rmtree(context.dumps, ignore_errors=True)
        scratch = Scratch(context.scratch)
        try:
            await rebuild(
                self.place.restic(),
                scratch,
                context.backup,
                bound=running.step.bound,
                silence=SILENCE,
            )
            replayed = await self._replayed(scratch, context, running)
            remarks = [*_remarks(replayed), *await self._checked(scratch, context, running)]
            loads = await self._dumps(scratch, context) if context.service else []
            await scratch.stop()
            scratch.release()
        except BaseException:
            await scratch.close()
            raise
        return DatabasesRebuilt(remarks=tuple(remarks), replayed=replayed, loads=tuple(loads))

    async def _replayed(
        self, scratch: Scratch, context: RestoreContext, running: Running
    ) -> LogReplayed:
        """Replay the log up to the moment asked for; return how far, and what may be lost."""
        lost = self._losses(context)
        if not context.to.replays:
            return LogReplayed(losses=lost)
        file, position, identity = joined(context.backup)
        pieces = self.place.logs(context.backup.host).after(file, position, identity)
        size_of_it = sum(piece.stat().st_size for piece in pieces) - position
        running.report(f"replaying {size(size_of_it)} of the log")
        played = await scratch.replay(
            pieces, start=position, until=context.to.at, bound=running.step.bound
        )
        return LogReplayed(
            losses=lost,
            changes=played.changes,
            file=played.file.name,
            position=played.position,
            at=played.at.timestamp() if played.at else None,
            torn=played.torn,
        )

    async def _checked(
        self, scratch: Scratch, context: RestoreContext, running: Running
    ) -> list[str]:
        """Check every table; return what does not fit together: the cloud may have been so.

        Raises BackupError where a table is damaged.
        """
        running.report("checking the restored tables")
        problems = await scratch.check_tables(context.all_databases, bound=running.step.bound)
        if problems:
            raise BackupError(
                f"restoring the databases of {context.backup.name}",
                came_back="; ".join(problems[:3]),
                remedy="choose another backup: backstay backup list",
            )
        holds = invariants(self.site.cloud, self.site.services)
        remarks = await proof.broken_invariants(scratch.query, holds)
        return [*remarks, *await self._without_files(scratch, context)]

    async def _without_files(self, scratch: Scratch, context: RestoreContext) -> list[str]:
        """Return what records name and no file is here for: what was written last may be lost."""
        found = []
        for service in context.services:
            if service.stored_files and service.databases[0] in context.all_databases:
                lines = await scratch.query(service.stored_files)
                paths = [line.split("\t")[0] for line in lines]
                missing = files_not_in(context.files / CONTENT, paths)
                if missing:
                    found.append(
                        f"{len(missing)} files are lost that {service.name} has records of: "
                        f"{', '.join(clean(path, longest=200) for path in missing[:5])}"
                    )
        return found

    async def _dumps(self, scratch: Scratch, context: RestoreContext) -> list[tuple[str, str, str]]:
        """Write a dump of each database of the service; return them as ``loads`` has them."""
        context.dumps.mkdir(mode=0o700)
        found = []
        for name in context.databases:
            with (context.dumps / f"{name}.sql").open("wb") as out:

                async def receive(data: bytes, out: Any = out) -> None:  # noqa: ANN401
                    out.write(data)

                await scratch.dump([name], receive, silence=SILENCE, single=True)
            characters = await scratch.query(
                "SELECT default_character_set_name, default_collation_name FROM "  # noqa: S608
                f"information_schema.schemata WHERE schema_name = {literal(name)}"
            )
            charset, _, collation = next(iter(characters), "").partition("\t")
            found.append((name, charset, collation))
        return found


def files_not_in(content: Path, paths: Sequence[str]) -> list[str]:
    """Return those paths, as records name them, that are not those of files in ``content``."""
    missing = []
    with Folder.open(content, make=True) as folder:
        for path in paths:
            try:
                here = folder.size(inside(path)) is not None
            except UnsafeName:
                here = False
            if not here:
                missing.append(path)
    return missing


def _remarks(replayed: LogReplayed) -> list[str]:
    """Return what the replay did, in sentences; none where no log was replayed. Pure."""
    if not replayed.file:
        return []
    at = datetime.fromtimestamp(replayed.at, UTC).astimezone() if replayed.at else None
    up_to = f" up to {at:%Y-%m-%d %H:%M:%S}" if at else ""
    torn = [f"{replayed.torn} bytes at its end were no whole change"] if replayed.torn else []
    return [f"{replayed.changes} changes replayed{up_to}", *torn, *replayed.losses]
