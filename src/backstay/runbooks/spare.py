"""Prepare a spare: packages and large files are on it before it replaces a host."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backstay.access.session import CloudSession
from backstay.answers import BadAnswer, read
from backstay.backup import archive, onhost_restore
from backstay.backup.catalogue import Backup
from backstay.backup.manifest import ask_listing
from backstay.backup.place import Place
from backstay.backup.restorable import changed, chosen
from backstay.errors import BackstayError, RemoteFailure
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Running, StepKind
from backstay.journal.plan import Plan
from backstay.journal.result import StepResult
from backstay.provision.packages import wanted
from backstay.quantities import size
from backstay.runbooks.replace import onhost as onhost_spare
from backstay.runbooks.replace.answers import Nothing, PreparedNote, SpareAnswer
from backstay.runbooks.replace.provisioning import BeginPackages, Packages
from backstay.runbooks.replace.spare import Prepare, SpareAction, files_here, manifest_of
from backstay.runbooks.replace.steps import BEGIN_PACKAGES, PACKAGES, PREPARE
from backstay.runbooks.restore.context import SILENCE
from backstay.runbooks.restore.rebuild_local import Fetch
from backstay.runbooks.restore.steps import FETCH
from backstay.runbooks.restore.upload import fetched

RUNBOOK = "spare"
_QUICK = 120.0
_LONG = 2 * 3600.0
_INSTALLING = 3700.0


def plan(cloud: Cloud, spare: str, backup: Backup, *, now: datetime) -> Plan:
    """Return the plan that prepares ``spare`` for the backup's host; only the spare is locked."""
    host = backup.host

    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=(spare,),
        steps=(
            PREPARE.step(spare, f"check that it can take the place of {host}", _QUICK),
            BEGIN_PACKAGES.step(spare, f"start to install the packages of {host}", _QUICK),
            FETCH.step(spare, "fetch the backup's files from the repository to here", _LONG),
            PACKAGES.step(spare, "wait for the packages; no unit of them starts", _INSTALLING),
            NEAR.step(spare, "put large files where they will be needed", _LONG),
            NOTE.step(spare, "note what it is prepared for", _QUICK),
        ),
        settings={
            "spare": spare,
            "for": host,
            "backup": backup.name,
            "to": "",
            "service": "",
            "mark": f"{now:%Y%m%d-%H%M%S}-spare",
        },
    )


LARGE = 1 << 20
"""Bytes from which on a file is sent ahead, as images are; settings and keys are not."""


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    place = Place(site.cloud)
    return dict(
        [
            PREPARE.by(Prepare(site, place)),
            BEGIN_PACKAGES.by(BeginPackages(site, place)),
            FETCH.by(Fetch(site, place)),
            PACKAGES.by(Packages(site, place)),
            NEAR.by(Near(site, place)),
            NOTE.by(Note(site, place)),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class LargeFilesSent(StepResult):
    """How many large files are in their places on the spare."""

    files: int = 0


NEAR = StepKind("near", LargeFilesSent)
NOTE = StepKind("note", StepResult)


class Near(SpareAction[LargeFilesSent]):
    """Puts large files of services in their places, so that a replacement sends only newer ones."""

    async def do(self, running: Running) -> LargeFilesSent:
        """Send those that the spare does not have. Raises HostError, BackupError."""
        context, spare = self.context(running), self.spare(running)
        services = [path for one in context.services for path in one.paths]
        wanted = chosen(fetched(files_here(context)), services)
        large = [entry for entry in wanted.regular() if entry.size >= LARGE]
        paths = [entry.path for entry in large]
        there = await ask_listing(self.site, spare, paths, [], bound=SILENCE)
        missing = [entry for entry in changed(wanted, there) if entry in large]
        if missing:
            await self.site.send(
                spare,
                onhost_restore.receive,
                f"{context.staging}/{onhost_restore.NEW}",
                data=archive.files(context.files, wanted, missing),
                silence=SILENCE,
            )
            await self.site.ask(
                spare,
                onhost_restore.place_files,
                context.staging,
                [],
                list(context.paths),
                returns=Nothing,
                bound=SILENCE,
            )
            await self.site.ask(
                spare,
                onhost_restore.remove,
                [f"{context.staging}/{onhost_restore.NEW}"],
                returns=Nothing,
            )
        sent = sum(entry.size for entry in missing)
        return LargeFilesSent(files=len(large), summary=f"{len(missing)} files sent, {size(sent)}")


class Note(SpareAction[StepResult]):
    """Notes on the spare which host it is prepared for; removes working files here."""

    async def do(self, running: Running) -> StepResult:
        """Write it down. Raises HostError."""
        context, spare = self.context(running), self.spare(running)
        note = {
            "for": self.host(running),
            "backup": context.backup.name,
            "at": time.time(),
            "packages": running.result(PACKAGES).to_json(),
            "files": running.result(NEAR).files,
        }
        await self.site.ask(spare, onhost_spare.keep_note, json.dumps(note), returns=Nothing)
        shutil.rmtree(context.work, ignore_errors=True)
        return StepResult(summary=f"prepared for {note['for']}")


async def readiness(site: CloudSession, name: str) -> dict[str, Any]:
    """Return a spare's ``state`` (bare, prepared, behind, unknown) and its note, as JSON data.

    ``behind`` is how many packages differ from the backup that the note names.
    """
    try:
        answer = await site.ask(name, onhost_spare.look, [], [], returns=SpareAnswer)
        if not answer.prepared:
            return {"spare": name, "state": "bare"}
        note = note_of(name, answer.prepared)
        place = Place(site.cloud)
        manifest = await manifest_of(place, place.catalogue.named(note.host))
    except BackstayError as error:
        return {"spare": name, "state": "unknown", "error": f"{error}; {error.remedy}"}
    return state_of(name, note, answer.versions, manifest)


def note_of(name: str, text: str) -> PreparedNote:
    """Return the note that a spare has kept. Raises RemoteFailure."""
    try:
        return read(PreparedNote, text)
    except BadAnswer as error:
        raise RemoteFailure(
            f"reading what {name} is prepared for",
            came_back=f"its note is not one of Backstay's: {error}",
            remedy=f"prepare it again: backstay spare prepare {name} --for HOST",
        ) from error


def state_of(
    name: str, note: PreparedNote, have: Mapping[str, str], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the readiness that follows from what was read. Pure.

    Packages that could not be installed when it was prepared do not count as behind.
    """
    known = {*note.packages.missing, *(row[0] for row in note.packages.differ)}
    pairs = wanted(manifest).wanted
    behind = sum(have.get(one) != version for one, version in pairs if one not in known)
    return {
        "spare": name,
        "state": "behind" if behind else "prepared",
        "for": note.host,
        "backup": note.backup,
        "at": note.at,
        "behind": behind,
        "files": note.files,
    }
