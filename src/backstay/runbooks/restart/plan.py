"""The plan by which units of one service on one host are restarted. Pure."""

from collections.abc import Sequence

from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan, Step

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
