"""The steps of a restore that are made on this machine, before the host is touched."""

import shutil
import time
from typing import Any

from backstay.backup import proof
from backstay.backup.selection import invariants
from backstay.errors import BackupError
from backstay.health.words import duration
from backstay.journal.action import Result, Running
from backstay.runbooks.backup.proving import missing_files
from backstay.runbooks.backup.rebuilding import rebuild
from backstay.runbooks.restore.restoring import SILENCE, About, Restoring
from backstay.transports.scratch import Scratch


class Fetch(Restoring):
    """Brings the backup's files here."""

    async def do(self, running: Running) -> Result:
        """Read them from the repository; what cannot be read whole ends it. Raises BackupError."""
        about, begun = self.about(running), time.monotonic()
        shutil.rmtree(about.files, ignore_errors=True)
        about.work.mkdir(parents=True, exist_ok=True)
        about.work.chmod(0o700)
        only = ["/manifest.json", "/exports", *(f"/content{path}" for path in about.paths)]
        snapshot = about.backup.snapshots["files"]
        await self.place.restic().restore(
            snapshot, about.files, bound=running.step.bound, only=only
        )
        problems = missing_files(about.files, about.paths)
        if problems:
            raise BackupError(
                f"reading the backup {about.backup.name}",
                came_back="; ".join(problems),
                remedy="choose another backup: backstay backup list",
            )
        return {"seconds": round(time.monotonic() - begun, 1)}


class Rebuild(Restoring):
    """Makes the databases anew in a scratch server: the host gets only what was seen to be well."""

    async def do(self, running: Running) -> Result:
        """Restore, replay, check; leave a data directory, or dumps of one service's databases."""
        about, begun = self.about(running), time.monotonic()
        shutil.rmtree(about.scratch, ignore_errors=True)
        shutil.rmtree(about.dumps, ignore_errors=True)
        scratch = Scratch(about.scratch)
        try:
            await rebuild(
                self.place.restic(), scratch, about.backup, bound=running.step.bound,
                silence=SILENCE,
            )  # fmt: skip
            found = await self._checked(scratch, about, running)
            if about.service:
                found["loads"] = await self._dumps(scratch, about)
            await scratch.stop()
            scratch.release()
        except BaseException:
            await scratch.close()
            raise
        seconds = round(time.monotonic() - begun, 1)
        told = [f"restored in {duration(seconds)}", *found["remarks"]]
        return {**found, "seconds": seconds, "told": "; ".join(told)}

    async def _checked(self, scratch: Scratch, about: About, running: Running) -> dict[str, Any]:
        """Check every table; what does not fit together is told, for the cloud may have been so."""
        running.say("checking the restored tables")
        problems = await scratch.check_tables(about.all_databases, bound=running.step.bound)
        if problems:
            raise BackupError(
                f"restoring the databases of {about.backup.name}",
                came_back="; ".join(problems[:3]),
                remedy="choose another backup: backstay backup list",
            )
        holds = invariants(self.site.cloud, self.site.services)
        return {"remarks": await proof.broken_invariants(scratch.query, holds)}

    async def _dumps(self, scratch: Scratch, about: About) -> list[list[str]]:
        """Write a dump of each database of the service; return their names and characters."""
        about.dumps.mkdir(mode=0o700)
        found = []
        for name in about.databases:
            with (about.dumps / f"{name}.sql").open("wb") as out:

                async def receive(data: bytes, out: Any = out) -> None:  # noqa: ANN401
                    out.write(data)

                await scratch.dump([name], receive, silence=SILENCE, single=True)
            characters = await scratch.query(
                "SELECT default_character_set_name, default_collation_name FROM "  # noqa: S608
                f"information_schema.schemata WHERE schema_name = '{name}'"
            )
            found.append([name, *characters[0].split("\t")])
        return found
