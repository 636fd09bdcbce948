"""The runbooks by their names: what each kind of step of a written-down plan does."""

from collections.abc import Callable, Mapping

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.journal.action import Runbook
from backstay.journal.records import RunRecord
from backstay.journal.store import Store
from backstay.runbooks import restart, spare
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.backup import plan as backup_plan
from backstay.runbooks.reattach import actions as reattach
from backstay.runbooks.reattach import plan as reattach_plan
from backstay.runbooks.reboot import actions as reboot
from backstay.runbooks.reboot import plan as reboot_plan
from backstay.runbooks.reconcile import actions as reconcile
from backstay.runbooks.reconcile import plan as reconcile_plan
from backstay.runbooks.replace import actions as replace
from backstay.runbooks.replace import plan as replace_plan
from backstay.runbooks.restore import actions as restore
from backstay.runbooks.restore import plan as restore_plan

_RUNBOOKS: Mapping[str, Callable[[CloudSession, Store], Runbook]] = {
    backup_plan.RUNBOOK: lambda site, _: Runbook(actions=backup.actions(site)),
    reattach_plan.RUNBOOK: lambda site, _: Runbook(actions=reattach.actions(site)),
    reboot_plan.RUNBOOK: reboot.runbook,
    reconcile_plan.RUNBOOK: lambda site, _: Runbook(actions=reconcile.actions(site)),
    replace_plan.RUNBOOK: replace.runbook,
    restart.RUNBOOK: lambda site, _: Runbook(actions=restart.actions(site)),
    restore_plan.RUNBOOK: lambda site, _: Runbook(actions=restore.actions(site)),
    spare.RUNBOOK: lambda site, _: Runbook(actions=spare.actions(site)),
}


def runbook_of(run: RunRecord, site: CloudSession, store: Store) -> Runbook:
    """Return what carries a run out. Raises BackstayError where there is no such runbook."""
    name = run.plan.runbook
    if name in _RUNBOOKS:
        return _RUNBOOKS[name](site, store)
    raise BackstayError(
        f"looking for the runbook {name}",
        came_back="this version of Backstay has none of that name",
        remedy=f"use the version that made the plan, or: backstay runs abandon {run.id}",
    )
