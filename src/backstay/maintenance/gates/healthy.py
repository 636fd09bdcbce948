"""The gate that asks whether the cloud is well enough that all of it can come back."""

from collections.abc import Sequence

from backstay.finding import Finding, bad
from backstay.inventory.enums import Role
from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal

NAME = "healthy"
_SHOWN = 5


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the host itself, a controller or an API is not well.

    Of other hosts only what went wrong since the run's first host went down counts: a compute host
    that is down anyway need not keep the controller from its reboot.
    """
    unwell = bad(asked.findings)
    if asked.known is not None:
        counts = [f for f in unwell if (f.host, f.service, f.subject) not in asked.known]
    else:
        near = {host.name for host in asked.cloud.with_role(Role.CONTROLLER)} | {asked.host, None}
        counts = [f for f in unwell if f.host in near]
    if not counts:
        return []
    shown = "; ".join(_describe(finding) for finding in counts[:_SHOWN])
    more = f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return [
        Refusal(
            gate=NAME,
            reason=f"not well before we begin: {shown}{more}",
            remedy="backstay check; and if this is why you reboot: --despite healthy",
        )
    ]


def _describe(finding: Finding) -> str:
    return f"{finding.host or 'cloud'}: {finding.subject} ({finding.evidence})"
