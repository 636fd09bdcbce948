"""The steps from the boot that is to end to the one that follows it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, HostError, HostUnreachable, PowerError
from backstay.health.remedy import on
from backstay.journal.action import Action, Result, Running
from backstay.quantities import duration
from backstay.runbooks.common.waiting import until
from backstay.runbooks.reboot import onhost
from backstay.transports.bmc import power_of

PAUSE = 1.0
STALE = 300.0
"""Seconds for which a yes of the gates holds, beyond the bounds of the steps that follow them."""
RESUME = "then go on: backstay runs resume"


def boot_id_before(running: Running) -> str:
    """Return the boot id that was noted before the host was asked to reboot."""
    return str(running.results[f"{running.step.target}.note"]["boot_id"])


async def another_boot(site: CloudSession, running: Running) -> Mapping[str, Any] | None:
    """Return the boot that follows the one noted; None while it cannot be read or is the same."""
    boot = await read_boot(site, running.step.target)
    return boot if boot and boot["boot_id"] != boot_id_before(running) else None


async def read_boot(site: CloudSession, host: str) -> Mapping[str, Any] | None:
    """Return what the host tells of its boot, None where it cannot be asked.

    Unreadable is unknown, never a yes.
    """
    try:
        boot: Mapping[str, Any] = await site.ask(host, onhost.boot)
    except HostError:
        return None
    return boot


def _refuse_stale(running: Running) -> None:
    """Refuse where the gates' yes is old: a run taken up days later would reboot at any time."""
    steps = [step for step in running.plan.steps if step.target == running.step.target]
    between = steps[: [step.id for step in steps].index(running.step.id)]
    age = time.time() - running.results[f"{running.step.target}.gates"]["asked_at"]
    if age > sum(step.bound for step in between) + STALE:
        raise BackstayError(
            f"asking {running.step.target} for a reboot",
            came_back=f"the gates were asked {duration(age)} ago: what held then may not hold now",
            remedy=f"backstay runs abandon {running.run}, and begin anew",
        )


@dataclass(frozen=True)
class Ask(Action[Result]):
    """Asks the host's systemd for a clean reboot."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Ask; the host compares the boot id, so that no second reboot follows a first one."""
        host = running.step.target
        _refuse_stale(running)
        try:
            answer = await self.site.ask(host, onhost.reboot, boot_id_before(running))
        except HostUnreachable as error:
            # It may have gone down while it answered: the next step sees.
            return {"asked": False, "told": f"{error.came_back}: perhaps it goes down already"}
        if answer.get("error"):
            target = self.site.cloud.ssh_target(self.site.host(host))
            raise BackstayError(
                f"asking {host} for a reboot",
                came_back=answer["error"],
                remedy=f"{on(target, 'systemctl list-jobs')}; {RESUME}",
            )
        return {**answer, "told": answer["why"]}

    async def probe(self, running: Running) -> Result | None:
        """Find that it was asked where there is another boot already."""
        boot = await another_boot(self.site, running)
        return {"asked": True} if boot else None


@dataclass(frozen=True)
class Down(Action[Result]):
    """Waits until the host has gone down; power-cycles it where it does not."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Wait for the end of its SSH server and of its pings, or for another boot."""
        times = self.site.cloud.maintenance
        begun = time.monotonic()
        gone = await until(lambda: self._gone(running), bound=times.down, pause=PAUSE)
        seconds = time.monotonic() - begun
        if gone:
            return {"gone_after": round(seconds, 1), "cycled": False}
        await power_cycle(
            self.site, running, f"it had not gone down {duration(times.down)} after it was asked"
        )
        told = f"did not go down within {duration(times.down)}: power-cycled by its BMC"
        return {"gone_after": round(seconds, 1), "cycled": True, "told": told}

    async def probe(self, running: Running) -> Result | None:
        """Find that it went down where it is gone, or back with another boot."""
        gone = await self._gone(running)
        return {"gone_after": None, "cycled": False} if gone else None

    async def _gone(self, running: Running) -> bool | None:
        """Return True when it is gone; a host whose SSH server has ended may still hang."""
        host = running.step.target
        pings, boot = await asyncio.gather(
            self.site.ping(self.site.host(host).address), read_boot(self.site, host)
        )
        if boot is not None:
            return True if boot["boot_id"] != boot_id_before(running) else None
        return None if pings else True


@dataclass(frozen=True)
class Up(Action[Result]):
    """Waits until the host is back with another boot id; power-cycles it once where it is not."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Wait; the boot id is the proof."""
        times = self.site.cloud.maintenance
        begun = time.monotonic()
        boot = await self._back(running, times.up)
        cycled = False
        if boot is None:
            await power_cycle(
                self.site, running, f"it was not back {duration(times.up)} after it went down"
            )
            cycled = True
            boot = await self._back(running, times.up)
        if boot is None:
            raise await self._not_back(running)
        return self._result(boot, cycled=cycled, seconds=time.monotonic() - begun)

    async def probe(self, running: Running) -> Result | None:
        """Find that it is back where its boot id is another."""
        boot = await another_boot(self.site, running)
        return self._result(boot, cycled=False, seconds=None) if boot else None

    async def _back(self, running: Running, bound: float) -> Mapping[str, Any] | None:
        return await until(lambda: another_boot(self.site, running), bound=bound, pause=PAUSE)

    @staticmethod
    def _result(boot: Mapping[str, Any], *, cycled: bool, seconds: float | None) -> Result:
        return {
            "boot_id": boot["boot_id"],
            # By the clock of the host, which dates its agents' reports.
            "booted_at": boot["clock"] - boot["up"],
            "cycled": cycled,
            "seconds": None if seconds is None else round(seconds, 1),
            "told": f"another boot id: {boot['boot_id'][:8]}…",
        }

    async def _not_back(self, running: Running) -> BackstayError:
        host = running.step.target
        times = self.site.cloud.maintenance
        try:
            boot = await self.site.ask(host, onhost.boot)
            seen = f"it answers with the boot id of before, {boot['boot_id']}: it has not rebooted"
        except HostError as error:
            seen = f"its boot id cannot be read ({error.came_back}), so whether it rebooted is "
            seen += "not known"
        return BackstayError(
            f"waiting for {host} to come back",
            came_back=f"not within {duration(times.up)}: {seen}",
            remedy=f"look at its console ({_bmc(self.site, host)}), {RESUME}",
        )


async def power_cycle(site: CloudSession, running: Running, why: str) -> None:
    """Power-cycle the host by its BMC, where that is allowed. Raises BackstayError."""
    host = site.host(running.step.target)
    target = site.cloud.bmc_target(host)
    if target is None or not site.cloud.maintenance.power_cycle:
        reason = "has no BMC in cloud.yaml" if target is None else "may not be power-cycled"
        raise BackstayError(
            f"rebooting {host.name}",
            came_back=f"{why}, and it {reason}",
            remedy=f"look at its console, {RESUME}",
        )
    running.say(f"{why}: power-cycling it by its BMC")
    try:
        await power_of(target).cycle()
    except PowerError as error:
        raise BackstayError(
            error.attempted,
            came_back=f"{error.came_back}; it was tried because {why}",
            remedy=f"{error.remedy}; power-cycle it by hand, {RESUME}",
        ) from error


def _bmc(site: CloudSession, host: str) -> str:
    bmc = site.host(host).bmc
    return f"its BMC: {bmc.url}" if bmc else "it has no BMC in cloud.yaml"
