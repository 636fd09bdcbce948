"""The gate that asks for a fresh backup."""

from collections.abc import Sequence

from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal
from backstay.quantities import duration

NAME = "backup"


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the site wants a verified backup of a certain age, and there is none.

    A backup that is taken as a step of the reboot, or by a hook, stands for it.
    """
    maintenance = asked.cloud.maintenance
    limit = asked.cloud.backup.max_age
    if limit is None or maintenance.backup or maintenance.hooks.backup:
        return []
    wanted = f"`max_age` under `backup` wants one of the last {duration(limit)}"
    if asked.backed_up is None:
        reason = f"there is no verified backup of {asked.host}; {wanted}"
    elif asked.now - asked.backed_up > limit:
        reason = f"the newest verified backup is {duration(asked.now - asked.backed_up)} old; "
        reason += wanted
    else:
        return []
    remedy = f"backstay backup create {asked.host} --verify; or do without: --despite {NAME}"
    return [Refusal(gate=NAME, reason=reason, remedy=remedy)]
