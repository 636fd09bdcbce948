"""What the steps share that make a spare the lost host: who is who, and the ways to the spare."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backstay.backup.catalogue import Backup
from backstay.backup.files import MANIFEST
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.journal.action import Result, Running
from backstay.journal.place import folder
from backstay.jsondata import Json
from backstay.provision import onhost
from backstay.provision.following import Ask, LongCommand, ask_here
from backstay.provision.work import Work
from backstay.runbooks.restore.context import SILENCE, About, Restoring
from backstay.runbooks.restore.plan import services_of, units_of

_MANIFESTS: dict[str, Mapping[str, Any]] = {}
"""By snapshot, which never changes: several steps of a run want it, and reading takes a second."""


async def manifest_of(place: Place, backup: Backup) -> Mapping[str, Any]:
    """Return the list of a backup's files, packages and units. Raises BackupError."""
    snapshot = backup.snapshots["files"]
    if snapshot not in _MANIFESTS:
        text = bytearray()

        async def receive(data: bytes) -> None:
            text.extend(data)

        await place.restic().dump(snapshot, f"/{MANIFEST}", receive, silence=SILENCE)
        _MANIFESTS[snapshot] = json.loads(text)
    return _MANIFESTS[snapshot]


class OnSpare(Restoring):
    """A step on the spare. Its plan has the settings of a restore, and ``spare`` and ``mark``.

    ``mark`` (a time, unique) names the places that the run makes here and on the spare, as
    ``About`` has it. The lost host is ``settings["for"]``, else the plan's first target.
    """

    def host(self, running: Running) -> str:
        """Return the name of the host that is replaced."""
        return str(running.plan.settings.get("for") or running.plan.targets[0])

    def spare(self, running: Running) -> str:
        """Return the name of the spare."""
        return str(running.plan.settings["spare"])

    def backup(self, running: Running) -> Backup:
        """Return the backup that is restored. Raises BackupError where it is gone."""
        return self.place.catalogue.named(running.plan.settings["backup"])

    def way(self, running: Running) -> str:
        """Return the name by which the spare is reached now: its own, or once adopted the host's.

        With the host's SSH keys it is a stranger under its own name.
        """
        adopted = _of_action(running, "adopt") is not None
        return self.host(running) if adopted else self.spare(running)

    def units(self, running: Running) -> list[str]:
        """Return the units of the host's services, as systemd calls them."""
        host, cloud = self.host(running), self.site.cloud
        return units_of(cloud, host, services_of(cloud, host, self.site.services, ""))

    async def manifest(self, backup: Backup) -> Mapping[str, Any]:
        """Return the list of the backup's files, packages and units. Raises BackupError."""
        return await manifest_of(self.place, backup)

    def ask_by(self, name: str) -> Ask:
        """Return what asks the spare, by one of its names."""

        async def ask(
            function: Callable[..., Any],
            *arguments: Json,
            bound: float,
        ) -> Json:
            return await self.site.ask(name, function, *arguments, bound=bound)

        return ask

    def command(self, running: Running, unit: str, *, here: bool = False) -> LongCommand:
        """Return the long command of this unit, on the spare or on this machine."""
        name, mine = self.way(running), folder() / "runs"
        return LongCommand(
            unit,
            ask_here if here else self.ask_by(name),
            host="this machine" if here else name,
            folder=str(mine / "units") if here else onhost.FOLDER,
            log=mine / running.run / f"{unit}.log",
        )


class Begins(OnSpare):
    """Begins a long command and returns at once. Its result: ``unit``, and what ``told`` adds."""

    async def do(self, running: Running) -> Result:
        """Begin it, or find it begun. Raises HostError, BackupError."""
        work = await self.work(running)
        if work is None:
            return {"unit": "", "told": self.nothing}
        unit = unit_name(running, work)
        if not self.begins(work):
            return {"unit": unit, "told": f"as {unit}, later"}
        await self.command(running, unit, here=work.here).begin(work, bound=self.bound(running))
        return {"unit": unit, "told": f"as {unit}"}

    nothing = "nothing to run"

    def begins(self, work: Work) -> bool:
        """Say whether it is begun now, or a later step does so."""
        return True

    def bound(self, running: Running) -> float:
        """Return for how many seconds it may run."""
        return 3600.0

    async def work(self, running: Running) -> Work | None:
        """Return what is to be run, None for nothing."""
        raise NotImplementedError


class Follows(OnSpare):
    """Follows what an earlier step has begun, to its end; begins it again where it is gone."""

    begun_by = ""
    """The name of the action that began it."""

    async def probe(self, running: Running) -> Result | None:
        """Forget a failure, so that it is done again: whoever resumes has mended its cause."""
        work, unit = await self.work(running), begun_unit(running, self.begun_by)
        if work is not None and unit:
            command = self.command(running, unit, here=work.here)
            told = await command.state()
            if told["status"] is not None and told["status"] not in work.good:
                await command.again()
        return None

    async def do(self, running: Running) -> Result:
        """Attach to it and wait. Raises BackstayError with its last errors where it fails."""
        work, unit = await self.work(running), begun_unit(running, self.begun_by)
        if work is None or not unit:
            return {"told": ""}
        command = self.command(running, unit, here=work.here)
        # Where it was killed, or its host was booted meanwhile, this is its second beginning.
        await command.begin(work, bound=running.step.bound)
        log = await command.follow(work, say=running.say)
        return await self.ended(running, log)

    async def work(self, running: Running) -> Work | None:
        """Return what was begun, None for nothing."""
        raise NotImplementedError

    async def ended(self, running: Running, log: str) -> Result:
        """Return the step's result; ``log`` is the last part of its log."""
        raise NotImplementedError


def unit_name(running: Running, work: Work) -> str:
    """Return the unit's name: of this run, and of no other journal's run of the same number."""
    return f"backstay-{running.run}-{work.name}-{int(running.begun)}"


def begun_unit(running: Running, action: str) -> str:
    """Return the unit that the step with this action has named, empty where there is none to run.

    Raises BackstayError where the plan has no such step.
    """
    begun = _of_action(running, action)
    if begun is None:
        raise BackstayError(
            running.step.does,
            came_back=f"no step of this plan has begun it ({action})",
            remedy="report this with: backstay runs show",
        )
    return str(begun["unit"])


def _of_action(running: Running, action: str) -> Result | None:
    """Return the result of the plan's step with this action, None while there is none."""
    ids = [step.id for step in running.plan.steps if step.action == action]
    return next((running.results[one] for one in ids if one in running.results), None)


def files_here(about: About) -> Path:
    """Return the folder into which the backup's files were brought. Raises BackstayError."""
    if not (about.files / MANIFEST).is_file():
        raise BackstayError(
            f"looking for the files of {about.backup.name} on this machine",
            came_back=f"{about.files} has no {MANIFEST}",
            remedy="the plan must fetch them first; begin the replacement anew",
        )
    return about.files
