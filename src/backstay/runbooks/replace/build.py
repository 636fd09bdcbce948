"""The steps that run the site's own configuration management for the host on its new machine."""

from pathlib import PurePosixPath

from backstay.backup import onhost_units
from backstay.errors import BackstayError
from backstay.inventory.provision import on_the_host
from backstay.journal.action import Result, Running
from backstay.provision.chosen import chosen
from backstay.provision.work import Work, last_line
from backstay.runbooks.replace import onhost_identity
from backstay.runbooks.replace.spare import Begins, Follows, OnSpare, begun_unit

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
            self.way(running), onhost_identity.missing, [str(path) for path in needed]
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
