"""The gate that asks for a fresh backup."""

from collections.abc import Sequence

from backstay.health.words import duration
from backstay.journal.records import RunRecord, RunState
from backstay.maintenance.gates.asked import Asked
from backstay.maintenance.refusal import Refusal

NAME = "backup"
RUNBOOK = "backup"


async def gate(asked: Asked) -> Sequence[Refusal]:
    """Refuse where the site wants a backup of a certain age, and the journal knows of none.

    A backup hook takes one just before, and then stands for it.
    """
    maintenance = asked.cloud.maintenance
    if maintenance.backup_max_age is None or maintenance.hooks.backup:
        return []
    newest = max((_ended(run) for run in asked.runs if _is_backup(run, asked.host)), default=None)
    wanted = f"`backup_max_age` wants one of the last {duration(maintenance.backup_max_age)}"
    if newest is None:
        reason = f"no backup of {asked.host} is known; {wanted}"
    elif asked.now - newest > maintenance.backup_max_age:
        reason = f"the newest backup is {duration(asked.now - newest)} old; {wanted}"
    else:
        return []
    remedy = f"take one, name a `backup` hook in cloud.yaml, or do without: --despite {NAME}"
    return [Refusal(gate=NAME, reason=reason, remedy=remedy)]


def _is_backup(run: RunRecord, host: str) -> bool:
    return run.plan.runbook == RUNBOOK and run.state is RunState.DONE and host in run.plan.targets


def _ended(run: RunRecord) -> float:
    return run.ended or 0.0
