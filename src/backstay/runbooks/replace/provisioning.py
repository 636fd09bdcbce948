"""The steps that install packages on the spare and run the site's configuration management."""

from pathlib import PurePosixPath

from backstay.backup import onhost_units
from backstay.errors import BackstayError
from backstay.inventory.provision import on_the_host
from backstay.journal.action import Result, Running
from backstay.provision import packages
from backstay.provision.chosen import chosen
from backstay.provision.work import Work, last_line
from backstay.runbooks.replace import onhost
from backstay.runbooks.replace.spare import OnSpare, result_of_action


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
    begun = result_of_action(running, action)
    if begun is None:
        raise BackstayError(
            running.step.does,
            came_back=f"no step of this plan has begun it ({action})",
            remedy="report this with: backstay runs show",
        )
    return str(begun["unit"])


class BeginPackages(Begins):
    """Begins to install the lost host's packages on the spare, and starts none of them."""

    async def work(self, running: Running) -> Work:
        """Return the installation, of what the backup says was installed."""
        return await packages_work(self, running)


class Packages(Follows):
    """Waits until the packages are installed; tells which differ from the lost host's."""

    begun_by = "begin-packages"

    async def work(self, running: Running) -> Work:
        """Return the same installation."""
        return await packages_work(self, running)

    async def ended(self, running: Running, log: str) -> Result:
        """Return what is missing and what is in another version."""
        found = packages.result(log)
        wish = packages.wanted(await self.manifest(self.backup(running)))
        return {**found, "told": packages.describe_packages(found, len(wish.wanted))}


async def packages_work(step: OnSpare, running: Running) -> Work:
    """Return the installation; a spare that is only prepared shall start nothing at boots."""
    manifest = await step.manifest(step.backup(running))
    only_prepared = bool(running.plan.settings.get("for"))
    return packages.work(packages.wanted(manifest), disable=only_prepared)


BEGUN_BY = "begin-build"


class BeginBuild(Begins):
    """Begins the site's configuration management where it can be held before its first change.

    Its unit is named here, and may be begun as late as by `let-build`.
    """

    nothing = "cloud.yaml names no `provision` for it: packages and backup are all that it gets"

    def begins(self, work: Work) -> bool:
        """Begin early what changes nothing before it is let go."""
        return work.waits

    def bound(self, running: Running) -> float:
        """Return what cloud.yaml says."""
        return build_bound(self, running)

    async def work(self, running: Running) -> Work | None:
        """See that what it needs is there, and return it. Raises BackstayError where not."""
        found = work_of(self, running)
        means = self.site.cloud.provision_of(self.site.host(self.host(running)))
        needed = on_the_host(means) if means else []
        missing = await self.site.ask(
            self.way(running), onhost.missing, [str(path) for path in needed]
        )
        if missing:
            raise _absent([PurePosixPath(path) for path in missing], self.host(running))
        return found


class LetBuild(OnSpare):
    """Lets it change the host: what it would get in the way of is done. It may start units now."""

    async def do(self, running: Running) -> Result:
        """Let it go, begin it where it could not be held. Raises HostError."""
        await self.site.ask(
            self.way(running), onhost_units.allow, self.units(running), [], bound=60
        )
        await let_go(self, running)
        return {"told": ""}


class Build(Follows):
    """Waits until the configuration management is through; no unit is left that will not boot."""

    begun_by = BEGUN_BY

    async def work(self, running: Running) -> Work | None:
        """Return what was begun."""
        return work_of(self, running)

    async def do(self, running: Running) -> Result:
        """Wait; then let start at boots what did so on the lost host and does not yet."""
        await let_go(self, running)  # an older plan has no step of its own for it
        result = await super().do(running)
        manifest = await self.manifest(self.backup(running))
        units = self.units(running)
        enabled = [unit for unit in units if unit in manifest.get("enabled", ())]
        told = await self.site.ask(self.way(running), onhost_units.allow, units, enabled, bound=120)
        return {**result, "enabled": told["enabled"]}

    async def ended(self, running: Running, log: str) -> Result:
        """Return its last word."""
        return {"told": last_line(log)}


def work_of(step: OnSpare, running: Running) -> Work | None:
    """Return how cloud.yaml says that the host is built, None where it says nothing."""
    host = step.site.host(step.host(running))
    means = step.site.cloud.provision_of(host)
    return chosen(means).work(host.name, host.address) if means else None


async def let_go(step: OnSpare, running: Running) -> None:
    """Begin it unless it was begun, and let it go on. Raises HostError."""
    work, unit = work_of(step, running), begun_unit(running, BEGUN_BY)
    if work is None or not unit:
        return
    command = step.command(running, unit, here=work.here)
    await command.begin(work, bound=build_bound(step, running))
    await command.let_go()


def build_bound(step: OnSpare, running: Running) -> float:
    """Return for how many seconds cloud.yaml lets it run."""
    means = step.site.cloud.provision_of(step.site.host(step.host(running)))
    return means.bound if means else 3600.0


def _absent(paths: list[PurePosixPath], host: str) -> BackstayError:
    return BackstayError(
        f"building {host}",
        came_back=f"{', '.join(map(str, paths))} did not come with its backup",
        remedy="put it there, then: backstay runs resume; and name its folder in `paths` under "
        "`backup` in cloud.yaml, so that the next backup has it",
    )
