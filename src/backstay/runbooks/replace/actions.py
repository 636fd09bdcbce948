"""What each kind of step of a replacement does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import HostError
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Result, Runbook, Running
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.replace.adopt import Adopt
from backstay.runbooks.replace.build import BeginBuild, Build, LetBuild
from backstay.runbooks.replace.confirm import Confirm
from backstay.runbooks.replace.fence import Fence
from backstay.runbooks.replace.fence_guard import guarded, still_fenced
from backstay.runbooks.replace.onhost_identity import holds
from backstay.runbooks.replace.outages import OutageRecording
from backstay.runbooks.replace.prepare import BeginPackages, Packages, Prepare
from backstay.runbooks.replace.prove_backup import Prove
from backstay.runbooks.replace.reconcile import Reconcile
from backstay.runbooks.replace.spare_unreachable import hinted
from backstay.runbooks.replace.take_over import TakeOver
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
