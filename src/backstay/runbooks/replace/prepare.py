"""The steps that see whether a spare can take a host's place, and give it the packages."""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Any

from backstay.errors import BackupError, HostError
from backstay.journal.action import Refused, Result, Running
from backstay.provision import packages
from backstay.provision.work import Work
from backstay.runbooks.replace import onhost_spare
from backstay.runbooks.replace.spare import Begins, Follows, OnSpare
from backstay.runbooks.replace.spare_checks import Wanted, against, remarks


class Prepare(OnSpare):
    """Asks the spare whether it can take the host's place; nothing is changed."""

    async def do(self, running: Running) -> Result:
        """Ask it in one round trip. Raises Refused with every reason at once."""
        host, spare, backup = self.host(running), self.spare(running), self.backup(running)
        units = self.units(running)
        databases = [name for one in self.site.services for name in one.databases]
        begun = time.time()
        try:
            told, manifest = await asyncio.gather(
                self.site.ask(spare, onhost_spare.look, units, databases), self.manifest(backup)
            )
        except (BackupError, HostError) as error:
            raise Refused(
                error.attempted, came_back=error.came_back, remedy=error.remedy
            ) from error
        offset = off_by(told["clock"], begun, time.time())
        wish = packages.wanted(manifest)
        wanted = Wanted(
            backup=backup,
            packages=[name for name, _ in wish.wanted],
            versions=dict(wish.wanted),
            old_address=await number_of(self.site.host(host).address),
            own_address=await number_of(self.site.host(spare).address),
            clock=self.site.cloud.limits.clock_offset_seconds,
        )
        reasons = against(wanted, told, offset=offset)
        if reasons:
            raise Refused(
                f"making {spare} into {host}",
                came_back="; ".join(reasons),
                remedy="mend that, or name another spare; nothing has been changed",
            )
        there = _there(told, wish)
        words = [f"{there} of {len(wish.wanted)} packages are there"]
        return {
            "boot_id": told["boot_id"],
            "addresses": [wanted.old_address, wanted.own_address],
            "packages": there,
            "prepared": told["prepared"],
            "told": "; ".join([*words, *remarks(wanted, told, offset=offset)]),
        }


def _there(told: Mapping[str, Any], wish: packages.Packages) -> int:
    have = dict(line.split(" ", 1) for line in told["packages"] if " " in line)
    return sum(have.get(name) == version for name, version in wish.wanted)


def off_by(clock: float, before: float, after: float) -> float:
    """Return how far a clock that was read between two times is off at least. Pure."""
    if clock > after:
        return clock - after
    return min(clock - before, 0.0)


async def number_of(address: str) -> str:
    """Return an address as a number, itself where this machine's resolver does not know it."""
    try:
        found = await asyncio.to_thread(socket.getaddrinfo, address, None)
    except OSError:
        return address
    return str(found[0][4][0])


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
