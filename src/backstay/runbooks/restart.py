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
from backstay.journal.action import Action, Running, StepKind
from backstay.journal.plan import Plan, Step
from backstay.journal.result import StepResult
from backstay.quantities import duration
from backstay.runbooks.common.reattacher import restart_unit

RUNBOOK = "restart"
PROVE_BOUND = 120.0
"""Seconds that a unit may take until it is active and listens."""
HOLDS = 5.0
"""Seconds for which a restarted unit must stay active."""
PAUSE = 1.0
"""Seconds between two checks of a unit."""
_OBSERVE_BOUND = 60.0
_RESTART_BOUND = 60.0
_MARGIN = 10.0
"""Seconds before the step's bound at which waiting ends."""


@dataclass(frozen=True, kw_only=True)
class UnitObserved(StepResult):
    """Whether the unit is running, so that no restart is necessary."""

    runs: bool


@dataclass(frozen=True, kw_only=True)
class UnitRestarted(StepResult):
    """Whether the unit was restarted."""

    restarted: bool


LOOK = StepKind("look", UnitObserved)
RESTART = StepKind("restart", UnitRestarted)
PROVE = StepKind("prove", StepResult)


def step_id(kind: StepKind[Any], unit: str) -> str:
    """Return the id of the step of this kind for a unit."""
    return f"{kind.name}-{unit}"


def failed_units(findings: Sequence[Finding], host: str, service: str) -> list[str]:
    """Return the units of a service that a check found failed on a host, in its order.

    Units that a restart cannot bring back, as they are not installed or masked, are left out.
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

    def step(kind: StepKind[Any], unit: str, does: str, bound: float) -> Step:
        return Step(
            id=step_id(kind, unit),
            action=kind.name,
            target=host,
            does=does,
            bound=bound,
            arguments={"unit": unit, "service": service},
        )

    steps: list[Step] = []
    for unit in units:
        steps += [
            step(LOOK, unit, f"check whether {unit} is running again", _OBSERVE_BOUND),
            step(RESTART, unit, f"restart {unit}", _RESTART_BOUND),
            step(PROVE, unit, f"wait until {unit} is active, listens and stays so", PROVE_BOUND),
        ]
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=(host,), steps=tuple(steps))


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    return dict([LOOK.by(ObserveUnit(site)), RESTART.by(Restart(site)), PROVE.by(Prove(site))])


async def unit_finding(site: CloudSession, running: Running) -> Finding:
    """Return the check's finding on the step's unit.

    Raises HostError where the host cannot be asked, BackstayError where it does not report the
    unit's state.
    """
    host, unit = running.host, running.step.arguments["unit"]
    for finding in await check_units(site, host):
        if finding.subject == f"unit {unit}" and finding.severity is not Severity.UNKNOWN:
            return finding
    raise BackstayError(
        f"reading the state of {unit} on {host}",
        came_back="the host does not report it",
        remedy=f"backstay check {host}",
    )


@dataclass(frozen=True)
class ObserveUnit(Action[UnitObserved]):
    """Checks whether the unit still needs a restart."""

    site: CloudSession

    async def do(self, running: Running) -> UnitObserved:
        """Check it. Raises as ``unit_finding``."""
        finding = await unit_finding(self.site, running)
        runs = finding.severity is not Severity.FAILED
        return UnitObserved(runs=runs, summary=finding.evidence)


@dataclass(frozen=True)
class Restart(Action[UnitRestarted]):
    """Restarts the unit, unless it is running."""

    site: CloudSession

    async def do(self, running: Running) -> UnitRestarted:
        """Ask systemd for it. Raises BackstayError where systemd refuses, HostError."""
        host, unit = running.host, str(running.step.arguments["unit"])
        observed = UnitObserved.from_json(running.results[step_id(LOOK, unit)])
        if observed.runs:
            return UnitRestarted(restarted=False, summary="not necessary: it is running")
        refusal = await self.site.ask(host, restart_unit, unit, returns=str)
        if refusal:
            raise BackstayError(
                f"restarting {unit} on {host}",
                came_back=refusal,
                remedy=f"backstay check {host}",
            )
        return UnitRestarted(restarted=True)


@dataclass(frozen=True)
class Prove(Action[StepResult]):
    """Waits until the unit is active, listens, and has stayed so for a while."""

    site: CloudSession

    async def do(self, running: Running) -> StepResult:
        """Check it repeatedly. Raises BackstayError near the step's bound."""
        host, unit = running.host, running.step.arguments["unit"]
        started, good, last = time.monotonic(), None, "its state was not read"
        while time.monotonic() - started < running.step.bound - _MARGIN:
            try:
                finding = await unit_finding(self.site, running)
            except HostError as error:
                good, last = None, error.came_back
            else:
                last = finding.evidence
                if not _good(finding):
                    good = None
                elif good is None:
                    good = time.monotonic()
                elif time.monotonic() - good >= HOLDS:
                    took = duration(time.monotonic() - started)
                    return StepResult(summary=f"active after {took}: {last}")
            await asyncio.sleep(PAUSE)
        raise BackstayError(
            f"waiting until {unit} on {host} is active",
            came_back=last,
            remedy=f"backstay check {host}; log of {unit} (journalctl -u {unit}) on {host}",
        )


def _good(finding: Finding) -> bool:
    """Return whether a unit is active and listens.

    A warning may be about the next boot, or that the unit has only just started.
    """
    starts = finding.severity is Severity.WARNING and "still starting" in finding.evidence
    return not (
        finding.severity is Severity.FAILED or starts or "nothing listens" in finding.evidence
    )
