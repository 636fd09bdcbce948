"""What each kind of step of a replacement does, and what guards and records meanwhile."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import BackupError, HostUnreachable
from backstay.finding import bad
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Runbook, Running
from backstay.journal.result import StepResult
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.backup.steps import VERIFY
from backstay.runbooks.reconcile.observe import mismatches, reaper_findings
from backstay.runbooks.replace import steps
from backstay.runbooks.replace.confirm import Confirm
from backstay.runbooks.replace.fence import Fence
from backstay.runbooks.replace.fence_guard import guarded
from backstay.runbooks.replace.given_up import refuse_unless_off
from backstay.runbooks.replace.identity import Adopt
from backstay.runbooks.replace.inventory_update import TakeOver
from backstay.runbooks.replace.outages import OutageRecording
from backstay.runbooks.replace.provisioning import (
    BeginBuild,
    BeginPackages,
    Build,
    LetBuild,
    Packages,
)
from backstay.runbooks.replace.spare import Prepare
from backstay.runbooks.replace.steps import ADOPT, RecordsCompared
from backstay.runbooks.restore import actions as restore


def runbook(site: CloudSession, store: Store) -> Runbook:
    """Return how a replacement is carried out: what each kind of step does, and what guards it."""
    place = Place(site.cloud)
    outages = OutageRecording(site, store)
    # Under both of its names the new host would be two, and one of them a stranger.
    whole = replace(site, cloud=without_spares(site.cloud))
    backups = backup.actions(whole)
    own = dict(
        [
            steps.CONFIRM.by(Confirm(site, outages=outages)),
            steps.PREPARE.by(Prepare(site, place)),
            steps.FENCE.by(Fence(site)),
            steps.BEGIN_PACKAGES.by(BeginPackages(site, place)),
            steps.PACKAGES.by(Packages(site, place)),
            steps.ADOPT.by(Adopt(site, place)),
            steps.BEGIN_BUILD.by(BeginBuild(site, place)),
            steps.LET_BUILD.by(LetBuild(site, place)),
            steps.BUILD.by(Build(site, place)),
            steps.RECONCILE.by(Reconcile(whole)),
            steps.TAKE_OVER.by(TakeOver(site, outages=outages)),
        ]
    )

    @contextlib.asynccontextmanager
    async def around(running: Running) -> AsyncIterator[None]:
        outages.resume(running)
        if running.step.action in _ALONE:
            await refuse_unless_off(site.cloud, store, running)
        async with guarded(site, running):  # from the fence on
            with hinted(running):
                yield

    verify = {VERIFY.name: VerifyNewBackup(backups[VERIFY.name])}
    return Runbook(actions={**own, **restore.actions(whole), **backups, **verify}, around=around)


_ALONE = {steps.CONFIRM.name, steps.FENCE.name, steps.ADOPT.name}
"""Steps before which no other machine may be about to come on with the host's address."""


def without_spares(cloud: Cloud) -> Cloud:
    """Return the cloud without its spares, on which nothing of it runs."""
    hosts = {name: host for name, host in cloud.hosts.items() if Role.SPARE not in host.roles}
    return cloud.model_copy(update={"hosts": hosts})


@dataclass(frozen=True, kw_only=True)
class NotVerified(StepResult):
    """The new backup could not be verified; ``problem`` is why."""

    problem: str


@dataclass(frozen=True)
class VerifyNewBackup(Action[Any]):
    """Verifies the new backup. One that cannot be verified is no failure of the replacement."""

    verify: Action[Any]

    async def do(self, running: Running) -> Any:  # noqa: ANN401 - the result of the action within
        """Verify. The backup that fails is marked so, and the older ones stay."""
        try:
            return await self.verify.do(running)
        except BackupError as error:
            return NotVerified(problem=error.came_back, summary=f"NOT verified: {error.came_back}")


@dataclass(frozen=True)
class Reconcile(Action[RecordsCompared]):
    """Counts what differs; ``backstay reconcile`` shows it, with a proposal for each."""

    site: CloudSession

    async def do(self, running: Running) -> RecordsCompared:
        """Compare. What differs is no failure of the replacement."""
        found = await mismatches(self.site)
        reapers = [f"{one.host}: {one.evidence}" for one in bad(await reaper_findings(self.site))]
        words = [f"{len(found.mismatches)} differ: backstay reconcile"] * bool(found.mismatches)
        words += [f"{len(found.missing)} could not be asked"] * bool(found.missing)
        return RecordsCompared(
            mismatches=tuple(asdict(one) for one in found.mismatches),
            missing=tuple(asdict(one) for one in found.missing),
            summary="; ".join([*words, *reapers]) or "records and reality agree",
        )


@contextlib.contextmanager
def hinted(running: Running) -> Iterator[None]:
    """Add to an error of this block which machine it is where the spare cannot be reached.

    By its name alone it is not known: once the spare has the lost host's place, it is called so.
    """
    try:
        yield
    except HostUnreachable as error:
        error.remedy = remedy(error, running)
        raise


def remedy(error: HostUnreachable, running: Running) -> str:
    """Return what to do; the error's own remedy where it is about another host. Pure."""
    host, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    if not {host, spare} & set(error.attempted.split()):
        return error.remedy
    adopted = ADOPT.id(host) in running.results
    which = f"that is {spare}, which has the place of {host} by now: " if adopted else ""
    return (
        f"{which}look at its BMC and console for the cause, then: {running.resume}; if it is lost "
        f"too, or has another disk: power it off, then {running.abandon}, and start again with "
        "another spare"
    )
