"""The gate that asks whether the controllers that are left would be a majority."""

from collections.abc import Sequence

from backstay.finding import bad
from backstay.inventory.enums import Role
from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal

NAME = "quorum"


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the other controllers that are well are not more than half of all.

    What must hold is the state after: one of three may be down already if it is this one. A cloud
    with one controller has no quorum to lose.
    """
    controllers = [host.name for host in asked.cloud.with_role(Role.CONTROLLER)]
    if len(controllers) < 2 or asked.host not in controllers:
        return []
    unwell = {finding.host for finding in bad(asked.findings)}
    left = [name for name in controllers if name != asked.host and name not in unwell]
    if 2 * len(left) > len(controllers):
        return []
    reason = (
        f"without {asked.host} only {len(left)} of {len(controllers)} controllers would be well: "
        "no majority for the database and the message queue"
    )
    out = sorted(set(controllers) & (unwell - {asked.host}), key=str)
    remedy = f"first mend {', '.join(map(str, out))}" if out else "add a controller"
    return [Refusal(gate=NAME, reason=reason, remedy=f"{remedy}; or --despite {NAME}")]
