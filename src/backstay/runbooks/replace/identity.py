"""The step that gives the spare the lost host's identity: the same server to every client.

Never two hosts with one address: it does nothing before the step that has fenced the lost host has
a result; the fence is checked just before and just after; and the spare itself asks by ARP who has
the address, and takes it only if nothing answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from backstay.answers import clean
from backstay.backup import archive, onhost, onhost_restore
from backstay.backup.manifest import Files, ask_listing
from backstay.backup.restorable import changed, chosen
from backstay.beneath import Folder
from backstay.errors import BackstayError, HostError
from backstay.journal.action import Refused, Running
from backstay.runbooks.replace import onhost as onhost_identity
from backstay.runbooks.replace.answers import AddressHeld, AdoptAnswer, BootIdAnswer
from backstay.runbooks.replace.fence_guard import still_fenced
from backstay.runbooks.replace.spare import SpareAction, files_here, number_of
from backstay.runbooks.replace.steps import FENCE, PREPARE, IdentityAdopted
from backstay.runbooks.restore.context import SILENCE, RestoreContext
from backstay.runbooks.restore.upload import fetched

IDENTITY = ("/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/ssh")
_PROOF = 30.0
_BOUND = 60.0
_HOSTNAME, _LONGEST_NAME = "content/etc/hostname", 1024


@dataclass(frozen=True)
class Adopt(SpareAction[IdentityAdopted]):
    """Gives the spare the host's name, SSH keys, machine id and address.

    ``still_fenced`` makes sure that the host is fenced, as ``fence_guard.still_fenced`` does.
    """

    still_fenced: Callable[..., Awaitable[None]] = still_fenced

    async def do(self, running: Running) -> IdentityAdopted:
        """Adopt only while the old host is off, and make sure that the spare alone has the address.

        Raises Refused where the host is not fenced, NotFenced where something else has the
        address, before or after; BackstayError where it cannot be done.
        """
        require_fence(running)
        spare = await self._address_of_spare(running)
        mine = [spare.mac]
        await self.still_fenced(self.site, running, adopted=mine if spare.has else ())
        adopted = await self._adopt(running)
        await self.still_fenced(self.site, running, adopted=mine)
        return adopted

    async def _address_of_spare(self, running: Running) -> AddressHeld:
        """Ask the spare for its hardware address; an earlier try may have renamed it already."""
        host = self.host(running)
        addresses = running.result(PREPARE).addresses
        try:
            return await self.site.ask(
                self.spare(running), onhost_identity.holds, *addresses, returns=AddressHeld
            )
        except HostError:
            self.site.shell.drop(self.site.cloud.ssh_target(self.site.host(host)))
            return await self.site.ask(host, onhost_identity.holds, *addresses, returns=AddressHeld)

    async def _adopt(self, running: Running) -> IdentityAdopted:
        """Adopt, and prove it: SSH to the host, by its key, is answered by the spare."""
        host, spare = self.host(running), self.spare(running)
        context = self.context(running)
        fetched_files = fetched(files_here(context))
        way = await self._reached_by(running, context)
        wanted = chosen(fetched_files, IDENTITY)
        entries = await self._sent(way, context, wanted)
        old = await number_of(self.site.host(host).address)
        own = await number_of(self.site.host(spare).address)
        answer = await self.site.ask(
            way,
            onhost_identity.adopt,
            {
                "mark": context.mark,
                "name": host_name(context) or host,
                "old": old,
                "own": own,
                "staging": staging(context),
                "folders": entries,
                "declared": list(IDENTITY),
                "keys": [e[0] for e in wanted.entries if "/ssh_host_" in e[0]],
            },
            returns=AdoptAnswer,
            bound=_BOUND,
        )
        if answer.others:
            raise _answers_still(host, f"the network card {', '.join(answer.others)}")
        await self._prove(running, answer.boot_id)
        # Asked under both of its names it would be two hosts, each with the other's agents.
        self.site.shell.drop(self.site.cloud.ssh_target(self.site.host(spare)))
        adopted = IdentityAdopted(
            boot_id=answer.boot_id,
            device=answer.device,
            configured=answer.configured,
            kept=answer.kept,
        )
        return replace(adopted, summary=_describe(adopted, old))

    async def _reached_by(self, running: Running, context: RestoreContext) -> str:
        """Return the name by which the spare is reached: an earlier try may have adopted already.

        Raises BackstayError where the host's address is answered by something else.
        """
        host, spare = self.host(running), self.spare(running)
        try:
            await self.site.ask(spare, onhost.boot_id, returns=BootIdAnswer)
        except HostError as error:
            self.site.shell.drop(self.site.cloud.ssh_target(self.site.host(host)))
            try:
                adopted = await self.site.ask(host, onhost_identity.adopted, returns=BootIdAnswer)
            except HostError:
                raise error from None
            if adopted.mark != context.mark:
                raise _answers_still(host, "another run's spare, or the host itself") from error
            return host
        return spare

    async def _sent(self, way: str, context: RestoreContext, wanted: Files) -> list[list[Any]]:
        """Send the files that make the identity, beside; return the folders they need."""
        there = await ask_listing(self.site, way, IDENTITY, [], bound=SILENCE)
        entries = changed(wanted, there)
        files = [entry for entry in entries if entry.kind != "d"]
        await self.site.send(
            way,
            onhost_restore.receive,
            f"{staging(context)}/{onhost_restore.NEW}",
            data=archive.files(context.files, wanted, files),
            silence=SILENCE,
        )
        return [[e.path, e.mode, *wanted.owner(e)] for e in entries if e.kind == "d"]

    async def _prove(self, running: Running, boot_id: str) -> None:
        """Return once the host's address and key lead to the spare. Raises BackstayError."""
        host = self.host(running)
        target = self.site.cloud.ssh_target(self.site.host(host))
        until, last = time.monotonic() + _PROOF, ""
        while time.monotonic() < until:
            self.site.shell.drop(target)  # one to the lost host may be kept, and hang
            try:
                answer = await self.site.ask(host, onhost.boot_id, returns=BootIdAnswer, bound=10)
            except HostError as error:
                last = error.came_back
            else:
                if answer.boot_id == boot_id:
                    return
                raise _answers_still(host, f"boot id {answer.boot_id}, not the spare's")
            await asyncio.sleep(0.5)
        raise BackstayError(
            f"reaching the spare as {host}",
            came_back=last or "no answer",
            remedy=f"fix its network at its console, then: {running.resume}",
        )


def require_fence(running: Running) -> None:
    """Raise Refused unless a step of this run has made sure that the host is off."""
    fenced, host = running.find(FENCE), running.plan.targets[0]
    if fenced is None or not fenced.how:
        raise Refused(
            f"giving {running.plan.settings['spare']} the identity of {host}",
            came_back=f"no step of this run has made sure that {host} is off",
            remedy=f"{running.abandon}; then start the replacement again",
        )


def staging(context: RestoreContext) -> str:
    """Return the folder on the spare for its identity: what was replaced stays in it."""
    return f"{context.staging}-identity"


def host_name(context: RestoreContext) -> str:
    """Return the name in the backup's /etc/hostname, nothing where it has none."""
    try:
        with Folder.open(context.files) as folder:
            name = folder.content(_HOSTNAME, most=_LONGEST_NAME)
    except OSError:
        return ""
    return clean(name.decode(errors="replace")).strip()


def _answers_still(host: str, who: str) -> BackstayError:
    return BackstayError(
        f"giving the spare the address of {host}",
        came_back=f"something else answers at that address: {who}",
        remedy=f"stop: see at the consoles which machine that is, and take {host} off the network; "
        "two controllers with one address destroy data",
    )


def _describe(adopted: IdentityAdopted, address: str) -> str:
    words = [f"{address} on {adopted.device}"]
    if adopted.configured:
        words.append(f"at boots by {', '.join(adopted.configured)}")
    else:
        words.append(
            "NOT at boots: no network configuration file names the spare's address; set "
            f"{address} there by hand"
        )
    if adopted.kept:
        words.append(f"replaced files kept in {adopted.kept}")
    return "; ".join(words)
