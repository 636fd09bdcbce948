"""Cut the power of a fenced host that was switched on again, and nothing else."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, PowerError
from backstay.health import addresses
from backstay.inventory.bmc import Fenced
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Refused, Runbook, Running, StepKind
from backstay.journal.plan import Plan, Step
from backstay.journal.result import StepResult
from backstay.runbooks.common.power_actions import Board, cut
from backstay.transports.bmc import power_of
from backstay.transports.hardware import hardware_of
from backstay.transports.power import Power, state_soon
from backstay.transports.targets import BmcTarget

RUNBOOK = "power-off"
HOLDS = 5.0
"""Seconds for which its BMC must report off before that is believed."""
PAUSE = 1.0


@dataclass(frozen=True, kw_only=True)
class PoweredOff(StepResult):
    """What was done: ``was_on`` is whether its BMC reported it on before."""

    was_on: bool


POWER_OFF = StepKind("power-off", PoweredOff)
PROVE = StepKind("prove", StepResult)


def plan(cloud: Cloud, name: str) -> Plan:
    """Return the plan for a fenced host by its name under ``fenced``. Raises Refused."""
    bmc = _fenced(cloud, name).bmc
    steps = (
        Step(
            id=POWER_OFF.id(name),
            action=POWER_OFF.name,
            target=name,
            does=f"cut the power of the fenced host {name} by its BMC, {bmc.url if bmc else ''}",
            bound=360.0,
        ),
        Step(
            id=PROVE.id(name),
            action=PROVE.name,
            target=name,
            does=f"check that it stays off, and that one host answers for {cloud.fenced[name].was}",
            bound=90.0,
        ),
    )
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=(name,), steps=steps)


def runbook(session: CloudSession, *, power: Callable[[BmcTarget], Power] = power_of) -> Runbook:
    """Return what carries the plan out."""
    return Runbook(
        actions=dict(
            [
                POWER_OFF.by(CutPower(session=session, power=power)),
                PROVE.by(Prove(session=session, power=power)),
            ]
        )
    )


def _fenced(cloud: Cloud, name: str) -> Fenced:
    """Return a fenced host with a BMC. Raises Refused: no other host is ever powered off here."""
    host = cloud.fenced.get(name)
    if host is not None and host.bmc is not None:
        return host
    raise Refused(
        f"cutting the power of {name}",
        came_back="it has no BMC in cloud.yaml" if host else "it is not under `fenced`",
        remedy=f"switch {name} off by hand: at its button, or by taking its cables out",
    )


@dataclass(frozen=True, kw_only=True)
class _OnFenced:
    session: CloudSession
    power: Callable[[BmcTarget], Power]

    def power_of(self, name: str) -> Power:
        """Return the way to the host's power. Raises Refused, InventoryError."""
        bmc = _fenced(self.session.cloud, name).bmc
        assert bmc is not None  # noqa: S101 - for mypy
        return self.power(bmc.target(name))


class CutPower(_OnFenced, Action[PoweredOff]):
    """Cuts the power, also where the BMC reports off already: what it reports may be old."""

    async def do(self, running: Running) -> PoweredOff:
        """Cut it and read it back.

        Raises PowerError; AnotherMachine where the BMC is another machine's by now; BackstayError
        where it is not off.
        """
        name = running.step.target
        power, fenced = self.power_of(name), self.session.cloud.fenced[name]
        url = fenced.bmc.url if fenced.bmc else ""
        board = Board(name=name, url=url, power=power, noted=hardware_of(fenced.uuid))
        try:
            was_on = await power.state() is not False
        except PowerError:
            was_on = True  # it may answer a moment later: the order waits for it
        await cut(board)
        state = await state_soon(power)
        if state is not False:
            raise BackstayError(
                f"cutting the power of {name}",
                came_back=f"its BMC reports {'on' if state else 'neither on nor off'} afterwards",
                remedy=f"switch {name} off by hand: at its button, or by taking its cables out",
            )
        summary = "its BMC reports off" if was_on else "its BMC reported off before too"
        return PoweredOff(was_on=was_on, summary=summary)


class Prove(_OnFenced, Action[StepResult]):
    """Checks that it stays off, and that nobody answers in its stead."""

    async def do(self, running: Running) -> StepResult:
        """Read its power for a while, then ask by ARP. Raises BackstayError if it is not gone."""
        name = running.step.target
        power, until = self.power_of(name), time.monotonic() + HOLDS
        while True:
            if await state_soon(power) is not False:
                raise self._not_gone(name, "its BMC does not report off any more")
            if time.monotonic() >= until:
                break
            await asyncio.sleep(PAUSE)
        was = self.session.cloud.fenced[name].was
        if was in self.session.cloud.hosts:
            reading = await addresses.read_addresses(self.session, [was])
            for shared in reading.shared:
                macs = ", ".join(shared.macs)
                raise self._not_gone(
                    name,
                    f"its BMC reports off, and yet two hosts answer for {shared.address}: {macs}",
                )
        return StepResult(summary=f"off for {HOLDS:g} s")

    def _not_gone(self, name: str, seen: str) -> BackstayError:
        was = self.session.cloud.fenced[name].was
        return BackstayError(
            f"checking that {name} is off",
            came_back=seen,
            remedy=addresses.remedy(self.session.cloud, was),
        )
