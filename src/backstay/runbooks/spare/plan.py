"""The plan by which a spare is prepared for a host. Pure."""

from datetime import datetime

from backstay.backup.catalogue import Backup
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan, Step

RUNBOOK = "spare"
_QUICK = 120.0
_LONG = 2 * 3600.0
_INSTALLING = 3700.0


def plan(cloud: Cloud, spare: str, backup: Backup, *, now: datetime) -> Plan:
    """Return the plan that prepares ``spare`` for the backup's host; only the spare is locked."""
    host = backup.host

    def step(action: str, does: str, bound: float) -> Step:
        return Step(id=f"{spare}.{action}", action=action, target=spare, does=does, bound=bound)

    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=(spare,),
        steps=(
            step("prepare", f"see that it can take the place of {host}", _QUICK),
            step("begin-packages", f"begin to install the packages of {host}", _QUICK),
            step("fetch", "bring the backup's files here from the repository", _LONG),
            step("packages", "wait for the packages; nothing of them starts", _INSTALLING),
            step("near", "put large files where they will be needed", _LONG),
            step("note", "note what it is prepared for", _QUICK),
        ),
        settings={
            "spare": spare,
            "for": host,
            "backup": backup.name,
            "to": "",
            "service": "",
            "mark": f"{now:%Y%m%d-%H%M%S}-spare",
        },
    )
