"""Restart the failed units of one service on one host, and nothing else."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, HostError
from backstay.finding import Finding, Severity
from backstay.health.check import check_units
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Result, Running
from backstay.journal.plan import Plan, Step
from backstay.quantities import duration
from backstay.runbooks.common.reattacher import restart_unit

RUNBOOK = "restart"
_LOOK = 60.0
_RESTART = 60.0
PROVE = 120.0
"""Seconds that a unit may take until it runs and listens."""


def failed_units(findings: Sequence[Finding], host: str, service: str) -> list[str]:
    """Return the units of a service that a check found failed on a host, in its order.

    Left out are those that a restart cannot bring back: not installed, or masked by somebody.
    """
    return [
        finding.subject.removeprefix("unit ")
        for finding in findings
        if (finding.host, finding.service) == (host, service)
        and finding.subject.startswith("unit ")
        and finding.severity is Severity.FAILED
        and "not installed" not in finding.evidence
        and "masked" not in finding.evidence
    ]


def plan(cloud: Cloud, host: str, service: str, units: Sequence[str]) -> Plan:
    """Return the plan; the host is locked."""

    def step(action: str, unit: str, does: str, bound: float) -> Step:
        return Step(
            id=f"{action}-{unit}",
            action=action,
            target=host,
            does=does,
            bound=bound,
            arguments={"unit": unit, "service": service},
        )

    steps: list[Step] = []
    for unit in units:
        steps += [
            step("look", unit, f"see that {unit} has not come back by itself", _LOOK),
            step("restart", unit, f"restart {unit}", _RESTART),
            step("prove", unit, f"see that {unit} runs, listens and holds", PROVE),
        ]
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=(host,), steps=tuple(steps))


HOLDS = 5.0
"""Seconds for which a restarted unit must run on before that is believed."""
PAUSE = 1.0
_MARGIN = 10.0


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    return {"look": Look(site), "restart": Restart(site), "prove": Prove(site)}


@dataclass(frozen=True)
class _OnUnit(Action[Result]):
    """What is done about one unit of a service."""

    site: CloudSession

    async def finding(self, running: Running) -> Finding:
        """Return what the check says of the unit. Raises BackstayError where it says nothing."""
        host, unit = running.step.target, running.step.arguments["unit"]
        for finding in await check_units(self.site, host):
            if finding.subject == f"unit {unit}" and finding.severity is not Severity.UNKNOWN:
                return finding
        raise BackstayError(
            f"looking at {unit} on {host}",
            came_back="the host does not tell how it is",
            remedy=f"backstay check {host}",
        )


class Look(_OnUnit):
    """Sees whether the unit still needs a restart."""

    async def do(self, running: Running) -> Result:
        """Look. Raises BackstayError where the host cannot be asked."""
        finding = await self.finding(running)
        runs = finding.severity is not Severity.FAILED
        return {"runs": runs, "told": finding.evidence}


class Restart(_OnUnit):
    """Restarts the unit, unless it runs."""

    async def do(self, running: Running) -> Result:
        """Ask systemd for it. Raises BackstayError where it does not take that."""
        host, unit = running.step.target, str(running.step.arguments["unit"])
        if running.results[f"look-{unit}"]["runs"]:
            return {"restarted": False, "told": "not needed: it runs"}
        refused = await self.site.ask(host, restart_unit, unit)
        if refused:
            raise BackstayError(
                f"restarting {unit} on {host}",
                came_back=str(refused),
                remedy=f"backstay check {host}",
            )
        return {"restarted": True}


class Prove(_OnUnit):
    """Sees that the unit runs and listens, and that it holds."""

    async def do(self, running: Running) -> Result:
        """Look until it has held for a while. Raises BackstayError where it does not in time."""
        host, unit = running.step.target, running.step.arguments["unit"]
        begun, good, last = time.monotonic(), None, "nothing was seen of it"
        while time.monotonic() - begun < running.step.bound - _MARGIN:
            try:
                finding = await self.finding(running)
            except HostError as error:
                good, last = None, error.came_back
            else:
                last = finding.evidence
                # A warning is about the next boot, or tells that it has only just started.
                starts = finding.severity is Severity.WARNING and "still starting" in last
                if finding.severity is Severity.FAILED or starts or "nothing listens" in last:
                    good = None
                elif good is None:
                    good = time.monotonic()
                elif time.monotonic() - good >= HOLDS:
                    return {"told": f"runs after {duration(time.monotonic() - begun)}: {last}"}
            await asyncio.sleep(PAUSE)
        raise BackstayError(
            f"seeing {unit} on {host} run",
            came_back=last,
            remedy=f"backstay check {host}; journalctl -u {unit} -n 50 on {host}",
        )
