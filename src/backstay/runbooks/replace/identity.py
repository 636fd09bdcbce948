"""The step that gives the spare the lost host's identity: the same server to every client.

Never two hosts with one address: it does nothing before the step that has fenced the lost host has
a result; and the spare itself asks by ARP who has the address, and takes it only if nobody answers.
"""

import asyncio
import time
from typing import Any

from backstay.backup import archive, onhost, onhost_restore
from backstay.backup.restorable import Files, changed, chosen, from_manifest
from backstay.errors import BackstayError, HostError
from backstay.journal.action import Refused, Result, Running
from backstay.runbooks.replace import onhost as onhost_identity
from backstay.runbooks.replace.spare import OnSpare, files_here, number_of
from backstay.runbooks.restore.context import SILENCE, About
from backstay.runbooks.restore.upload import fetched

IDENTITY = ("/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/ssh")
_PROOF = 30.0
_BOUND = 60.0


class Adopt(OnSpare):
    """Gives the spare the host's name, SSH keys, machine id and address."""

    async def do(self, running: Running) -> Result:
        """Adopt, and prove it: SSH to the host, by its key, is answered by the spare.

        Raises Refused where the host is not fenced, BackstayError where it cannot be done or
        something else answers in the host's place.
        """
        host, spare = self.host(running), self.spare(running)
        self._require_fence(running, host)
        about = self.about(running)
        fetched_files = fetched(files_here(about))
        way = await self._reached_by(running, about)
        wanted = chosen(fetched_files, IDENTITY)
        entries = await self._sent(way, about, wanted)
        old = await number_of(self.site.host(host).address)
        own = await number_of(self.site.host(spare).address)
        told: dict[str, Any] = await self.site.ask(
            way,
            onhost_identity.adopt,
            {
                "mark": about.mark,
                "name": host_name(about) or host,
                "old": old,
                "own": own,
                "staging": staging(about),
                "folders": entries,
                "keys": [e[0] for e in wanted.entries if "/ssh_host_" in e[0]],
            },
            bound=_BOUND,
        )
        if told.get("others"):
            raise _answers_still(host, f"the network card {', '.join(told['others'])}")
        await self._prove(host, told["boot_id"])
        # Asked under both of its names it would be two hosts, each with the other's agents.
        self.site.shell.drop(self.site.cloud.ssh_target(self.site.host(spare)))
        return {**told, "told": _words(told, old)}

    def _require_fence(self, running: Running, host: str) -> None:
        """Rule 1: no identity before the host is known to be off."""
        if not running.results.get(f"{host}.fence"):
            raise Refused(
                f"giving {self.spare(running)} the identity of {host}",
                came_back=f"no step of this run has made sure that {host} is off",
                remedy="this plan is wrong: begin again with backstay replace",
            )

    async def _reached_by(self, running: Running, about: About) -> str:
        """Return the name by which the spare is reached: an earlier try may have adopted already.

        Raises BackstayError where the host's address is answered by something else.
        """
        host, spare = self.host(running), self.spare(running)
        try:
            await self.site.ask(spare, onhost.boot_id)
        except HostError as error:
            self.site.shell.drop(self.site.cloud.ssh_target(self.site.host(host)))
            try:
                told = await self.site.ask(host, onhost_identity.adopted)
            except HostError:
                raise error from None
            if told["mark"] != about.mark:
                raise _answers_still(host, "another run's spare, or the host itself") from error
            return host
        return spare

    async def _sent(self, way: str, about: About, wanted: Files) -> list[list[Any]]:
        """Send the files that make the identity, beside; return the folders they need."""
        manifest = await self.site.ask(way, onhost.listing, list(IDENTITY), [], bound=SILENCE)
        entries = changed(wanted, from_manifest(manifest))
        files = [entry for entry in entries if entry[1] != "d"]
        await self.site.send(
            way,
            onhost_restore.receive,
            f"{staging(about)}/{onhost_restore.NEW}",
            data=archive.files(about.files, wanted, files),
            silence=SILENCE,
        )
        return [[e[0], e[2], *wanted.owner(e)] for e in entries if e[1] == "d"]

    async def _prove(self, host: str, boot_id: str) -> None:
        """See that the host's address and key lead to the spare now."""
        target = self.site.cloud.ssh_target(self.site.host(host))
        until, last = time.monotonic() + _PROOF, ""
        while time.monotonic() < until:
            self.site.shell.drop(target)  # one to the lost host may be kept, and hang
            try:
                told = await self.site.ask(host, onhost.boot_id, bound=10)
            except HostError as error:
                last = error.came_back
            else:
                if told["boot_id"] == boot_id:
                    return
                raise _answers_still(host, f"boot id {told['boot_id']}, not the spare's")
            await asyncio.sleep(0.5)
        raise BackstayError(
            f"reaching the spare as {host}",
            came_back=last or "no answer",
            remedy="its own address still answers at its console; then: backstay runs resume",
        )


def staging(about: About) -> str:
    """Return the folder on the spare for its identity: what was replaced stays in it."""
    return f"{about.staging}-identity"


def host_name(about: About) -> str:
    """Return the name in the backup's /etc/hostname, nothing where it has none."""
    try:
        return (about.files / "content" / "etc" / "hostname").read_text().strip()
    except OSError:
        return ""


def _answers_still(host: str, who: str) -> BackstayError:
    return BackstayError(
        f"giving the spare the address of {host}",
        came_back=f"something else answers at that address: {who}",
        remedy=f"stop: see at the consoles which machine that is, and take {host} off the network; "
        "two controllers with one address destroy data",
    )


def _words(told: dict[str, Any], address: str) -> str:
    words = [f"{address} on {told['device']}"]
    if told["configured"]:
        words.append(f"at boots by {', '.join(told['configured'])}")
    else:
        words.append(
            f"NOT at boots: no file of the network names the spare's address; set "
            f"{address} there by hand"
        )
    if told["kept"]:
        words.append(f"what was there is kept in {told['kept']}")
    return "; ".join(words)
