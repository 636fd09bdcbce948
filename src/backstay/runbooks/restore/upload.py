"""The steps of a restore before which everything runs on: can the host take it, and sending it."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from backstay.access.session import CloudSession
from backstay.answers import Line
from backstay.backup import archive, onhost_restore
from backstay.backup.manifest import Files, ask_listing, in_folder
from backstay.backup.mariadb import onhost_restore as onhost_fill
from backstay.backup.mariadb import onhost_restore as onhost_tables
from backstay.backup.mariadb.answers import ServerHost
from backstay.backup.mariadb.logs import joined
from backstay.backup.mariadb.release import other_releases
from backstay.backup.mariadb.scratch import server_version
from backstay.backup.restorable import changed, chosen
from backstay.backup.selection import selection
from backstay.errors import BackupError, HostError
from backstay.inventory.backup import Engine
from backstay.journal.action import Refused, Running
from backstay.quantities import size
from backstay.runbooks.restore.context import SILENCE, RestoreAction, RestoreContext
from backstay.runbooks.restore.steps import LOOK, REBUILD, BackupSent, HostInspected

_LOADED = 1.5
"""How many times as large as its dump a data directory is."""
_ROOM = 1.2
"""How much more room than the backup's size is asked for: it grows while it is prepared."""


class InspectHost(RestoreAction[HostInspected]):
    """Asks whether this machine and the host can do it; nothing is changed."""

    async def do(self, running: Running) -> HostInspected:
        """Ask. Raises Refused with every reason."""
        context, host = self.context(running), running.step.target
        try:
            answer = await self.site.ask(host, onhost_fill.look, returns=ServerHost)
            context = replace(context, fills=answer.fills)
            here = context.has_databases and not context.straight
            ours = await server_version() if here else ""
        except (HostError, BackupError) as error:
            raise Refused(
                error.attempted, came_back=error.came_back, remedy=error.remedy
            ) from error
        free = shutil.disk_usage(self.place.folder).free
        reasons = blockers(context, answer, ours=ours, free_here=free)
        if context.has_databases and context.to.replays:
            reasons += self._no_log(context)
        if reasons:
            raise Refused(
                f"restoring {context.backup.name} on {host}",
                came_back="; ".join(reasons),
                remedy="fix that, and start the restore again; nothing has been changed",
            )
        mark = running.plan.settings.get("mark") or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        return HostInspected(
            mark=mark,
            data=answer.data,
            owner=answer.owner,
            beside=_beside(answer, mark),
            zstd=answer.zstd,
            fills=answer.fills,
        )

    def _no_log(self, context: RestoreContext) -> list[str]:
        """Return why the log cannot be replayed, nothing if it can."""
        try:
            self.place.logs(context.backup.host).after(*joined(context.backup))
        except BackupError as error:
            return [f"{error.came_back} ({error.remedy})"]
        return []


def blockers(
    context: RestoreContext, answer: ServerHost, *, ours: str, free_here: int
) -> list[str]:
    """Return every reason against it. Pure; ``answer`` is the host's (``onhost_fill.look``).

    ``ours`` is the version of this machine's database server, which counts only where the databases
    are made here; ``free_here`` are its free bytes.
    """
    backup, found = context.backup, []
    lacks = [program for program, there in answer.has.items() if not there]
    if lacks:
        found.append(f"the host has no {', '.join(lacks)}")
    growth = _ROOM * (_LOADED if backup.engine is Engine.DUMP else 1)
    database = int(backup.sizes.get("database", 0) * growth) if context.has_databases else 0
    here = int(backup.sizes.get("files", 0) * _ROOM)
    here += 0 if context.straight else database * (2 if context.service else 1)
    if free_here < here:
        found.append(f"this machine has only {size(free_here)} free, about {size(here)} are needed")
    if context.has_databases:
        servers = {"the host": _number(answer.server)}
        if not context.straight:
            servers["this machine"] = ours
        found += other_releases(backup.facts["version"], servers)
        if answer.free_data < database:
            found.append(
                f"{answer.data} on the host has only {size(answer.free_data)} free for "
                f"about {size(database)} beside what is there"
            )
    return found


def _number(version: str) -> str:
    return version.partition("Ver ")[2].partition(" ")[0]


def _beside(answer: ServerHost, mark: str) -> str:
    """Return the folder on the data directory's own file system in which the new one is made."""
    data = answer.data
    return f"{data}/.backstay-{mark}" if answer.own_mount else f"{data}.backstay-{mark}"


class Send(RestoreAction[BackupSent]):
    """Sends what was restored to the host, beside what is there."""

    async def do(self, running: Running) -> BackupSent:
        """Send databases, and of the files those that are not there. Raises HostError."""
        context, host = self.context(running), running.step.target
        sent = await self._files(context, host, running)
        if context.has_databases and context.service:
            await self._loads(context, host, running)
        elif context.has_databases and not context.straight:
            inspected = running.result(LOOK)
            running.report("sending the data directory")
            data = archive.data_directory(context.scratch / "data", inspected.owner)
            squeezes = inspected.zstd and archive.can_squeeze()
            await self.site.send(
                host,
                onhost_restore.receive,
                f"{inspected.beside}/{onhost_restore.NEW}",
                squeezes,
                data=archive.squeezed(data) if squeezes else data,
                silence=SILENCE,
            )
        return sent

    async def _files(self, context: RestoreContext, host: str, running: Running) -> BackupSent:
        wanted = chosen(fetched(context.files), context.paths)
        there = await files_there(self.site, context)
        await self._refuse_strangers(wanted, running)
        entries = changed(wanted, there)
        files = [entry for entry in entries if entry.kind != "d"]
        folders = [
            (entry.path, entry.mode, *wanted.owner(entry)) for entry in entries if entry.kind == "d"
        ]
        if files:
            running.report(f"sending {len(files)} files that differ")
        await self.site.send(
            host,
            onhost_restore.receive,
            f"{context.staging}/{onhost_restore.NEW}",
            data=archive.files(context.files, wanted, files),
            silence=SILENCE,
        )
        return BackupSent(
            files=len(files),
            folders=tuple(folders),
            summary=f"{len(files)} files differ from what is there",
        )

    async def _refuse_strangers(self, wanted: Files, running: Running) -> None:
        """Raise BackupError where the host does not know the owners of files."""
        host = running.step.target
        users, groups = wanted.owners()
        missing = await self.site.ask(
            host, onhost_restore.unknown, sorted(users), sorted(groups), returns=list[Line]
        )
        if missing:
            raise BackupError(
                f"sending files to {host}",
                came_back=f"it has no user or group {', '.join(missing)}, to whom files belong",
                remedy=f"install the services' packages on {host}, then: {running.resume}",
            )

    async def _loads(self, context: RestoreContext, host: str, running: Running) -> None:
        for name, charset, collation in running.result(REBUILD).loads:
            running.report(f"loading {name} beside the one in use")
            await self.site.send(
                host,
                onhost_tables.load,
                context.restored_name(name),
                charset,
                collation,
                data=archive.content_of(context.dumps / f"{name}.sql"),
                silence=running.step.bound,
            )


async def files_there(site: CloudSession, context: RestoreContext) -> Files:
    """Return the files that the host has now, of those that a restore is about."""
    host = context.backup.host
    leave_out = selection(site.cloud, site.host(host), site.services).leave_out
    return await ask_listing(site, host, context.paths, leave_out, bound=SILENCE)


def fetched(folder: Path) -> Files:
    """Return the files that were brought here. Raises BackupError."""
    return in_folder(folder, backup=f"the backup in {folder}")
