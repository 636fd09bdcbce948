"""The steps that install packages on the spare and run the site's configuration management.

Both are long commands: a step starts one as a systemd unit, a later step waits for its end.
"""

from pathlib import PurePosixPath
from typing import ClassVar

from backstay.backup import onhost_units
from backstay.errors import BackstayError
from backstay.inventory.provision import on_the_host
from backstay.journal.action import R, Running, StepKind
from backstay.journal.result import StepResult
from backstay.provision import packages
from backstay.provision.methods import method_of
from backstay.provision.work import Work, last_line
from backstay.runbooks.replace import onhost
from backstay.runbooks.replace.answers import UnitsEnabled
from backstay.runbooks.replace.spare import SpareAction
from backstay.runbooks.replace.steps import (
    BEGIN_BUILD,
    BEGIN_PACKAGES,
    CommandStarted,
    HostBuilt,
    PackagesInstalled,
)


class StartCommand(SpareAction[CommandStarted]):
    """Starts a long command and returns at once."""

    nothing: ClassVar[str] = "nothing to run"
    """The summary where there is no command."""

    async def do(self, running: Running) -> CommandStarted:
        """Start it, or find it started. Raises HostError, BackupError."""
        work = await self.work(running)
        if work is None:
            return CommandStarted(summary=self.nothing)
        unit = unit_name(running, work)
        if not self.starts_now(work):
            return CommandStarted(unit=unit, summary=f"as {unit}, later")
        await self.command(running, unit, here=work.here).begin(work, bound=self.bound(running))
        return CommandStarted(unit=unit, summary=f"as {unit}")

    def starts_now(self, work: Work) -> bool:
        """Return whether it is started now: a later step does so otherwise."""
        return True

    def bound(self, running: Running) -> float:
        """Return for how many seconds it may run."""
        return 3600.0

    async def work(self, running: Running) -> Work | None:
        """Return what is to be run, None for nothing."""
        raise NotImplementedError


class FollowCommand(SpareAction[R]):
    """Follows a long command to its end; starts it again where it is gone."""

    started_by: ClassVar[StepKind[CommandStarted]]
    """The step that started it."""

    async def probe(self, running: Running) -> R | None:
        """Forget a failure, so that it is run again: whoever resumes has fixed its cause."""
        work, unit = await self.work(running), self.unit(running)
        if work is not None and unit:
            command = self.command(running, unit, here=work.here)
            state = await command.state()
            if state.status is not None and state.status not in work.good:
                await command.again()
        return None

    async def do(self, running: Running) -> R:
        """Attach to it and wait. Raises BackstayError with its last errors where it fails."""
        work, unit = await self.work(running), self.unit(running)
        if work is None or not unit:
            return await self.ended(running, None)
        command = self.command(running, unit, here=work.here)
        # Where it was killed, or its host was booted meanwhile, this starts it a second time.
        await command.begin(work, bound=running.step.bound)
        return await self.ended(running, await command.follow(work, say=running.report))

    def unit(self, running: Running) -> str:
        """Return the unit that the earlier step has named, empty where there is none to run."""
        return running.result(self.started_by).unit

    async def work(self, running: Running) -> Work | None:
        """Return what was started, None for nothing."""
        raise NotImplementedError

    async def ended(self, running: Running, log: str | None) -> R:
        """Return the step's result; ``log`` is the last part of its log, None if nothing ran."""
        raise NotImplementedError


def unit_name(running: Running, work: Work) -> str:
    """Return the unit's name: of this run, and of no other journal's run of the same number."""
    return f"backstay-{running.run}-{work.name}-{int(running.started)}"


class BeginPackages(StartCommand):
    """Starts to install the lost host's packages on the spare, and starts no unit of them."""

    async def work(self, running: Running) -> Work:
        """Return the installation, of what the backup says was installed."""
        return await packages_work(self, running)


class Packages(FollowCommand[PackagesInstalled]):
    """Waits until the packages are installed; names those that differ from the lost host's."""

    started_by = BEGIN_PACKAGES

    async def work(self, running: Running) -> Work:
        """Return the same installation."""
        return await packages_work(self, running)

    async def ended(self, running: Running, log: str | None) -> PackagesInstalled:
        """Return what is missing and what is in another version."""
        if log is None:
            return PackagesInstalled()
        found = packages.result(log)
        count = len(packages.wanted(await self.manifest(self.backup(running))).wanted)
        summary = packages.describe_packages(found, count)
        return PackagesInstalled(missing=found.missing, differ=found.differ, summary=summary)


async def packages_work(step: SpareAction[R], running: Running) -> Work:
    """Return the installation; a spare that is only prepared shall start nothing at boots."""
    manifest = await step.manifest(step.backup(running))
    only_prepared = bool(running.plan.settings.get("for"))
    return packages.work(packages.wanted(manifest), disable=only_prepared)


class BeginBuild(StartCommand):
    """Starts the site's configuration management if it can be held before its first change.

    Its unit is named here, and may be started as late as by `let-build`.
    """

    nothing = "cloud.yaml has no `provision` for it: it gets packages and backup only"

    def starts_now(self, work: Work) -> bool:
        """Return whether it can be held: it changes nothing before it is let go."""
        return work.waits

    def bound(self, running: Running) -> float:
        """Return the bound of `provision` in cloud.yaml."""
        return build_bound(self, running)

    async def work(self, running: Running) -> Work | None:
        """Return it once all that it needs is there. Raises BackstayError where it is not."""
        found = build_work(self, running)
        means = self.site.cloud.provision_of(self.site.host(self.host(running)))
        needed = on_the_host(means) if means else []
        missing = await self.site.ask(
            self.way(running),
            onhost.missing,
            [str(path) for path in needed],
            returns=tuple[str, ...],
        )
        if missing:
            raise _absent([PurePosixPath(path) for path in missing], running)
        return found


class LetBuild(SpareAction[StepResult]):
    """Lets it change the host: it would have been in the way before. It may start units now."""

    async def do(self, running: Running) -> StepResult:
        """Let it go, start it where it could not be held. Raises HostError."""
        await self.site.ask(
            self.way(running),
            onhost_units.allow,
            self.units(running),
            [],
            returns=UnitsEnabled,
            bound=60,
        )
        await let_go(self, running)
        return StepResult()


class Build(FollowCommand[HostBuilt]):
    """Waits until the configuration management is through; then every unit starts at boots."""

    started_by = BEGIN_BUILD

    async def work(self, running: Running) -> Work | None:
        """Return what was started."""
        return build_work(self, running)

    async def do(self, running: Running) -> HostBuilt:
        """Wait; then enable what was enabled on the lost host and is not yet."""
        await let_go(self, running)  # an older plan has no step of its own for it
        return await super().do(running)

    async def ended(self, running: Running, log: str | None) -> HostBuilt:
        """Return which units are enabled now, and the last line of its log."""
        manifest = await self.manifest(self.backup(running))
        units = self.units(running)
        enabled = [unit for unit in units if unit in manifest.get("enabled", ())]
        allowed = await self.site.ask(
            self.way(running),
            onhost_units.allow,
            units,
            enabled,
            returns=UnitsEnabled,
            bound=120,
        )
        summary = "" if log is None else last_line(log)
        return HostBuilt(enabled=allowed.enabled, summary=summary)


def build_work(step: SpareAction[R], running: Running) -> Work | None:
    """Return how `provision` of cloud.yaml builds the host, None where it has none."""
    host = step.site.host(step.host(running))
    means = step.site.cloud.provision_of(host)
    return method_of(means).work(host.name, host.address) if means else None


async def let_go(step: SpareAction[R], running: Running) -> None:
    """Start the configuration management unless it was, and let it go on. Raises HostError."""
    work, unit = build_work(step, running), running.result(BEGIN_BUILD).unit
    if work is None or not unit:
        return
    command = step.command(running, unit, here=work.here)
    await command.begin(work, bound=build_bound(step, running))
    await command.let_go()


def build_bound(step: SpareAction[R], running: Running) -> float:
    """Return for how many seconds cloud.yaml lets it run."""
    means = step.site.cloud.provision_of(step.site.host(step.host(running)))
    return means.bound if means else 3600.0


def _absent(paths: list[PurePosixPath], running: Running) -> BackstayError:
    host = running.plan.targets[0]
    return BackstayError(
        f"building {host}",
        came_back=f"{', '.join(map(str, paths))} did not come with its backup",
        remedy=f"put it on {host}, then: {running.resume}; and name its folder in `paths` under "
        "`backup` in cloud.yaml, so that the next backup has it",
    )
