"""What each kind of step of a replacement does."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import BackupError, HostError, HostUnreachable
from backstay.finding import bad
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Result, Runbook, Running
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.reconcile.observe import mismatches, reaper_findings
from backstay.runbooks.replace.fence import Confirm, Fence
from backstay.runbooks.replace.fence_guard import guarded, still_fenced
from backstay.runbooks.replace.identity import Adopt
from backstay.runbooks.replace.inventory_update import TakeOver
from backstay.runbooks.replace.onhost import holds
from backstay.runbooks.replace.outages import OutageRecording
from backstay.runbooks.replace.provisioning import (
    BeginBuild,
    BeginPackages,
    Build,
    LetBuild,
    Packages,
)
from backstay.runbooks.replace.spare import Prepare
from backstay.runbooks.restore import actions as restore


def runbook(site: CloudSession, store: Store) -> Runbook:
    """Return how a replacement is carried out: what each kind of step does, and what guards it."""
    place = Place(site.cloud)
    outages = OutageRecording(site, store)
    # Under both of its names the new host would be two, and one of them a stranger.
    whole = replace(site, cloud=without_spares(site.cloud))
    backups = backup.actions(whole)
    actions: dict[str, Action[Any]] = {
        "confirm": Confirm(site, outages=outages),
        "prepare": Prepare(site, place),
        "fence": Fence(site),
        "begin-packages": BeginPackages(site, place),
        "packages": Packages(site, place),
        "adopt": AdoptFenced(site, Adopt(site, place)),
        "begin-build": BeginBuild(site, place),
        "let-build": LetBuild(site, place),
        "build": Build(site, place),
        **restore.actions(whole),
        "reconcile": Reconcile(whole),
        "take-over": TakeOver(site, outages=outages),
        **backups,
        "verify": Prove(backups["verify"]),
    }

    @asynccontextmanager
    async def around(running: Running) -> AsyncIterator[None]:
        outages.resume(running)
        async with guarded(site, running):  # from the fence on
            with hinted(running):
                yield

    return Runbook(actions=actions, around=around)


def without_spares(cloud: Cloud) -> Cloud:
    """Return the cloud without its spares, on which nothing of it runs."""
    hosts = {name: host for name, host in cloud.hosts.items() if Role.SPARE not in host.roles}
    return cloud.model_copy(update={"hosts": hosts})


@dataclass(frozen=True)
class AdoptFenced(Action[Result]):
    """Gives the spare the address only while the old host is off, and sees that it alone has it."""

    site: CloudSession
    adopt: Adopt

    async def do(self, running: Running) -> Result:
        """Adopt. Raises NotFenced where something else has the address, before or after."""
        spare = await self._spare(running)
        mine = [spare["mac"]]
        await still_fenced(self.site, running, adopted=mine if spare["has"] else ())
        result = await self.adopt.do(running)
        await still_fenced(self.site, running, adopted=mine)
        return result

    async def _spare(self, running: Running) -> dict[str, Any]:
        """Ask the spare for its hardware address; an earlier try may have renamed it already."""
        name, host = self.adopt.spare(running), self.adopt.host(running)
        addresses = running.results[f"{host}.prepare"]["addresses"]
        try:
            told = await self.site.ask(name, holds, *addresses)
        except HostError:
            self.site.shell.drop(self.site.cloud.ssh_target(self.site.host(host)))
            told = await self.site.ask(host, holds, *addresses)
        return dict(told)


@dataclass(frozen=True)
class Prove(Action[Result]):
    """Verifies the new backup; one that cannot be is told, and is no failure of the replacement."""

    verify: Action[Any]

    async def do(self, running: Running) -> Result:
        """Verify. The backup that fails is marked so, and the older ones stay."""
        try:
            found: Result = await self.verify.do(running)
            return found
        except BackupError as error:
            return {"problem": error.came_back, "told": f"NOT verified: {error.came_back}"}


@dataclass(frozen=True)
class Reconcile(Action[Result]):
    """Tells what differs; ``backstay reconcile`` shows it, with a proposal for each."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Look. What differs is no failure of the replacement."""
        looked = await mismatches(self.site)
        reapers = [f"{one.host}: {one.evidence}" for one in bad(await reaper_findings(self.site))]
        words = [f"{len(looked.mismatches)} differ: backstay reconcile"] * bool(looked.mismatches)
        words += [f"{len(looked.missing)} could not be asked"] * bool(looked.missing)
        return {
            "mismatches": [asdict(one) for one in looked.mismatches],
            "missing": [asdict(one) for one in looked.missing],
            "told": "; ".join([*words, *reapers]) or "records and reality agree",
        }


@contextlib.contextmanager
def hinted(running: Running) -> Iterator[None]:
    """Say in the error of this block which machine it is where the spare cannot be reached.

    By its name alone nobody would know: once the spare has the lost host's place, it is called so.
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
    adopted = any(
        step.action == "adopt" and step.id in running.results for step in running.plan.steps
    )
    which = f"that is {spare}, which has the place of {host} by now: " if adopted else ""
    return (
        f"{which}see at its BMC and console what is the matter, then: backstay runs resume "
        f"{running.run}; where it is lost too, or has another disk: power it off, backstay runs "
        f"abandon {running.run}, and begin anew with another spare"
    )
