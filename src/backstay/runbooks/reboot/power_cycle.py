"""The steps from the boot that is to end to the one that follows it."""

import asyncio
import math
import time
from dataclasses import dataclass

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, HostError, HostUnreachable, PowerError
from backstay.health.remedy import on
from backstay.journal.action import Action, Running
from backstay.quantities import duration
from backstay.runbooks.common.power_actions import Board, cycle
from backstay.runbooks.common.waiting import until
from backstay.runbooks.common.which_machine import (
    AnotherMachine,
    describe,
    noted_with_newest_backup,
    require_own_bmc,
)
from backstay.runbooks.reboot import onhost
from backstay.runbooks.reboot.answers import BootAnswer, RebootAnswer
from backstay.runbooks.reboot.steps import GATES, NOTE, CameBack, RebootRequested, WentDown
from backstay.transports.bmc import power_of
from backstay.transports.hardware import Hardware, hardware_of

PAUSE = 1.0
"""Seconds between two questions to a host that is going down or coming back."""
STALE = 300.0
"""Seconds for which the gates' answers are valid, beyond the bounds of the steps that follow."""
RESUME = "then: backstay runs resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A boot of a host: its id, and when it started by the host's clock, in Unix seconds."""

    id: str
    started: float


async def read_boot(site: CloudSession, host: str) -> Boot | None:
    """Return the host's current boot, None where the host cannot be asked.

    None is unknown, never a proof of a reboot.
    """
    try:
        answer = await site.ask(host, onhost.boot, returns=BootAnswer)
    except HostError:
        return None
    return Boot(id=answer.boot_id, started=answer.clock - answer.up)


async def next_boot(site: CloudSession, running: Running) -> Boot | None:
    """Return the boot that follows the noted one; None while unknown, or still the noted one."""
    boot = await read_boot(site, running.host)
    return boot if boot and boot.id != running.result(NOTE).boot_id else None


def _refuse_stale(running: Running) -> None:
    """Raise BackstayError where the gates were asked too long ago, as in a run resumed days later.

    The reboot would happen at any time of day then.
    """
    steps = [step for step in running.plan.steps if step.target == running.step.target]
    between = steps[: [step.id for step in steps].index(running.step.id)]
    age = running.result(GATES).age
    if age > sum(step.bound for step in between) + STALE:
        raise BackstayError(
            f"asking {running.host} for a reboot",
            came_back=f"the gates were asked {_ago(age)}: their answers may have changed",
            remedy=f"backstay runs abandon {running.run}; then: backstay reboot {running.host}",
        )


def _ago(age: float) -> str:
    return f"{duration(age)} ago" if math.isfinite(age) else "at a time that is in the future now"


@dataclass(frozen=True)
class Ask(Action[RebootRequested]):
    """Asks the host's systemd for a clean reboot."""

    site: CloudSession

    async def do(self, running: Running) -> RebootRequested:
        """Ask for it; the host compares the boot id, so that it is never rebooted twice.

        Raises BackstayError where the gates were asked too long ago, or systemd refuses.
        """
        host = running.host
        _refuse_stale(running)
        boot_id = running.result(NOTE).boot_id
        try:
            answer = await self.site.ask(host, onhost.reboot, boot_id, returns=RebootAnswer)
        except HostUnreachable as error:
            # It may have gone down while it answered: the next step finds out.
            why = f"{error.came_back}: it may be going down already"
            return RebootRequested(asked=False, summary=why)
        if answer.error:
            target = self.site.cloud.ssh_target(self.site.host(host))
            raise BackstayError(
                f"asking {host} for a reboot",
                came_back=answer.error,
                remedy=f"{on(target, 'systemctl list-jobs')}; {RESUME}",
            )
        return RebootRequested(asked=answer.asked, why=answer.why, summary=answer.why)

    async def probe(self, running: Running) -> RebootRequested | None:
        """Return that it was asked where the next boot has started already."""
        return RebootRequested(asked=True) if await next_boot(self.site, running) else None


@dataclass(frozen=True)
class Down(Action[WentDown]):
    """Waits until the host has gone down; power-cycles it where it does not."""

    site: CloudSession

    async def do(self, running: Running) -> WentDown:
        """Wait until neither SSH nor ping answers, or for the next boot.

        Raises BackstayError where it does not go down and cannot be power-cycled.
        """
        times = self.site.cloud.maintenance
        started = time.monotonic()
        gone = await until(lambda: self._gone(running), bound=times.down, pause=PAUSE)
        seconds = round(time.monotonic() - started, 1)
        if gone:
            return WentDown(gone_after=seconds, cycled=False)
        limit = duration(times.down)
        await power_cycle(self.site, running, f"it had not gone down {limit} after it was asked")
        summary = f"did not go down within {limit}: power-cycled by its BMC"
        return WentDown(gone_after=seconds, cycled=True, summary=summary)

    async def probe(self, running: Running) -> WentDown | None:
        """Return that it went down where it is gone, or back with the next boot."""
        gone = await self._gone(running)
        return WentDown(gone_after=None, cycled=False) if gone else None

    async def _gone(self, running: Running) -> bool | None:
        """Return True when it is gone, None while it is not.

        A host whose SSH server has ended may still hang on its way down: ping tells.
        """
        host = running.host
        pings, boot = await asyncio.gather(
            self.site.ping(self.site.host(host).address), read_boot(self.site, host)
        )
        if boot is not None:
            return True if boot.id != running.result(NOTE).boot_id else None
        return None if pings else True


@dataclass(frozen=True)
class Up(Action[CameBack]):
    """Waits until the host is back with another boot id; power-cycles it once where it is not."""

    site: CloudSession

    async def do(self, running: Running) -> CameBack:
        """Wait; another boot id is the proof. Raises BackstayError where it does not come back."""
        limit, started = self.site.cloud.maintenance.up, time.monotonic()
        boot, cycled = await self._back(running, limit), False
        if boot is None:
            why = f"it was not back {duration(limit)} after it went down"
            await power_cycle(self.site, running, why)
            cycled = True
            boot = await self._back(running, limit)
        if boot is None:
            raise await self._not_back(running)
        return _came_back(boot, cycled=cycled, seconds=round(time.monotonic() - started, 1))

    async def probe(self, running: Running) -> CameBack | None:
        """Return that it is back where its boot id is another."""
        boot = await next_boot(self.site, running)
        return _came_back(boot, cycled=False, seconds=None) if boot else None

    async def _back(self, running: Running, bound: float) -> Boot | None:
        return await until(lambda: next_boot(self.site, running), bound=bound, pause=PAUSE)

    async def _not_back(self, running: Running) -> BackstayError:
        host = running.host
        try:
            boot = await self.site.ask(host, onhost.boot, returns=BootAnswer)
            seen = f"it answers with its former boot id {boot.boot_id}: it has not rebooted"
        except HostError as error:
            seen = f"its boot id cannot be read ({error.came_back}); whether it rebooted is unknown"
        limit = duration(self.site.cloud.maintenance.up)
        return BackstayError(
            f"waiting for {host} to come back",
            came_back=f"not within {limit}: {seen}",
            remedy=f"check its console ({_bmc(self.site, host)}); {RESUME}",
        )


def _came_back(boot: Boot, *, cycled: bool, seconds: float | None) -> CameBack:
    return CameBack(
        boot_id=boot.id,
        booted_at=boot.started,
        cycled=cycled,
        seconds=seconds,
        summary=f"new boot id {boot.id[:8]}…",
    )


async def power_cycle(site: CloudSession, running: Running, why: str) -> None:
    """Power-cycle the host by its BMC, once the machine behind that is known to be the host.

    Raises BackstayError where cloud.yaml does not allow it, it has no BMC, the BMC fails, or
    another machine is behind it.
    """
    host = site.host(running.host)
    target = site.cloud.bmc_target(host)
    if target is None or not site.cloud.maintenance.power_cycle:
        reason = "has no BMC in cloud.yaml" if target is None else "may not be power-cycled"
        raise BackstayError(
            f"rebooting {host.name}",
            came_back=f"{why}, and it {reason}",
            remedy=f"check its console; {RESUME}",
        )
    running.report(f"{why}: power-cycling it by its BMC")
    noted = _noted(site, running)
    board = Board(name=host.name, url=target.url, power=power_of(target), noted=noted)
    try:
        await require_own_bmc(site.cloud, host.name)
        found = await cycle(board)
    except (PowerError, AnotherMachine) as error:
        raise BackstayError(
            error.attempted,
            came_back=f"{error.came_back}; it was tried because {why}",
            remedy=f"{error.remedy}; power-cycle {host.name} by hand; {RESUME}",
        ) from error
    running.report(describe(noted, found))


def _noted(site: CloudSession, running: Running) -> Hardware:
    """Return the host's ids as it gave them before it went down, else with its newest backup."""
    note = running.result(NOTE)
    noted = hardware_of(note.uuid, note.serial)
    return noted if noted.known else noted_with_newest_backup(site.cloud, running.host)


def _bmc(site: CloudSession, host: str) -> str:
    bmc = site.host(host).bmc
    return f"its BMC: {bmc.url}" if bmc else "it has no BMC in cloud.yaml"
