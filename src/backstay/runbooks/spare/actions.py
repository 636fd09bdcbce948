"""What each kind of step does by which a spare is prepared."""

import json
import shutil
import time
from collections.abc import Mapping
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup import archive, onhost, onhost_restore
from backstay.backup.place import Place
from backstay.backup.restorable import changed, chosen, from_manifest
from backstay.journal.action import Action, Result, Running
from backstay.quantities import size
from backstay.runbooks.replace import onhost_spare
from backstay.runbooks.replace.prepare import BeginPackages, Packages, Prepare
from backstay.runbooks.replace.spare import OnSpare, files_here
from backstay.runbooks.restore.context import SILENCE
from backstay.runbooks.restore.rebuild_local import Fetch
from backstay.runbooks.restore.upload import fetched

LARGE = 1 << 20
"""Bytes from which on a file goes ahead: images. Settings and keys come when they are needed."""


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    place = Place(site.cloud)
    return {
        "prepare": Prepare(site, place),
        "begin-packages": BeginPackages(site, place),
        "fetch": Fetch(site, place),
        "packages": Packages(site, place),
        "near": Near(site, place),
        "note": Note(site, place),
    }


class Near(OnSpare):
    """Puts large files of services in their places: a replacement then sends only what is newer."""

    async def do(self, running: Running) -> Result:
        """Send those that are not there. Raises HostError, BackupError."""
        about, spare = self.about(running), self.spare(running)
        services = [path for one in about.services for path in one.paths]
        wanted = chosen(fetched(files_here(about)), services)
        large = [e for e in wanted.entries if e[1] == "f" and e[5] >= LARGE]
        manifest = await self.site.ask(
            spare, onhost.listing, [entry[0] for entry in large], [], bound=SILENCE
        )
        there = from_manifest(manifest)
        missing = [entry for entry in changed(wanted, there) if entry in large]
        if missing:
            await self.site.send(
                spare,
                onhost_restore.receive,
                f"{about.staging}/{onhost_restore.NEW}",
                data=archive.files(about.files, wanted, missing),
                silence=SILENCE,
            )
            await self.site.ask(spare, onhost_restore.place_files, about.staging, [], bound=SILENCE)
            await self.site.ask(
                spare, onhost_restore.remove, [f"{about.staging}/{onhost_restore.NEW}"]
            )
        sent = sum(entry[5] for entry in missing)
        return {"files": len(large), "told": f"{len(missing)} files sent, {size(sent)}"}


class Note(OnSpare):
    """Notes on the spare for what it is prepared; tidies up here."""

    async def do(self, running: Running) -> Result:
        """Write it down. Raises HostError."""
        about, spare = self.about(running), self.spare(running)
        note = {
            "for": self.host(running),
            "backup": about.backup.name,
            "at": time.time(),
            "packages": running.results[f"{spare}.packages"],
            "files": running.results[f"{spare}.near"]["files"],
        }
        await self.site.ask(spare, onhost_spare.keep_note, json.dumps(note))
        shutil.rmtree(about.work, ignore_errors=True)
        return {"told": f"prepared for {note['for']}"}
