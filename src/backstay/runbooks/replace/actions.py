"""What each kind of step of a replacement does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import HostError
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Result, Running
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.replace.adopt import Adopt
from backstay.runbooks.replace.build import BeginBuild, Build, LetBuild
from backstay.runbooks.replace.confirm import Confirm
from backstay.runbooks.replace.fence import Fence
from backstay.runbooks.replace.fence_guard import Guarded, still_fenced
from backstay.runbooks.replace.onhost_identity import holds
from backstay.runbooks.replace.outages import watched
from backstay.runbooks.replace.prepare import BeginPackages, Packages, Prepare
from backstay.runbooks.replace.prove_backup import Prove
from backstay.runbooks.replace.reconcile import Reconcile
from backstay.runbooks.replace.spare_unreachable import SpareUnreachableHint
from backstay.runbooks.replace.take_over import TakeOver
from backstay.runbooks.restore import actions as restore


def actions(site: CloudSession, store: Store) -> Mapping[str, Action]:
    """Return the actions by their names; from the fence on the old host's power is watched."""
    place = Place(site.cloud)
    # Under both of its names the new host would be two, and one of them a stranger.
    whole = replace(site, cloud=without_spares(site.cloud))
    backups = backup.actions(whole)
    before: dict[str, Action] = {
        "confirm": Confirm(site),
        "prepare": Prepare(site, place),
        "fence": Fence(site),
    }
    after: dict[str, Action] = {
        "begin-packages": BeginPackages(site, place),
        "packages": Packages(site, place),
        "adopt": AdoptFenced(site, Adopt(site, place)),
        "begin-build": BeginBuild(site, place),
        "let-build": LetBuild(site, place),
        "build": Build(site, place),
        **restore.actions(whole),
        "reconcile": Reconcile(whole),
        "take-over": TakeOver(site),
        **backups,
        "verify": Prove(backups["verify"]),
    }
    guarded = {name: Guarded(site, SpareUnreachableHint(action)) for name, action in after.items()}
    return watched(before | guarded, site, store)


def without_spares(cloud: Cloud) -> Cloud:
    """Return the cloud without its spares, on which nothing of it runs."""
    hosts = {name: host for name, host in cloud.hosts.items() if Role.SPARE not in host.roles}
    return cloud.model_copy(update={"hosts": hosts})


class AdoptFenced:
    """Gives the spare the address only while the old host is off, and sees that it alone has it."""

    def __init__(self, site: CloudSession, adopt: Adopt) -> None:
        self.site = site
        self.adopt = adopt

    async def do(self, running: Running) -> Result:
        """Adopt. Raises NotFenced where something else has the address, before or after."""
        spare = await self._spare(running)
        mine = [spare["mac"]]
        await still_fenced(self.site, running, adopted=mine if spare["has"] else ())
        result = await self.adopt.do(running)
        await still_fenced(self.site, running, adopted=mine)
        return result

    async def probe(self, running: Running) -> Result | None:
        """Do it again."""
        return None

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
