"""The runbooks by their names: what each kind of step of a written-down plan does."""

from collections.abc import Callable, Mapping

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.journal.action import Action
from backstay.journal.store import Store
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
from backstay.runbooks.restart import actions as restart
from backstay.runbooks.restart import plan as restart_plan
from backstay.runbooks.restore import actions as restore
from backstay.runbooks.restore import plan as restore_plan
from backstay.runbooks.spare import actions as spare
from backstay.runbooks.spare import plan as spare_plan

_RUNBOOKS: Mapping[str, Callable[[CloudSession, Store], Mapping[str, Action]]] = {
    backup_plan.RUNBOOK: lambda site, _: backup.actions(site),
    reattach_plan.RUNBOOK: lambda site, _: reattach.actions(site),
    reboot_plan.RUNBOOK: reboot.actions,
    reconcile_plan.RUNBOOK: lambda site, _: reconcile.actions(site),
    replace_plan.RUNBOOK: replace.actions,
    restart_plan.RUNBOOK: lambda site, _: restart.actions(site),
    restore_plan.RUNBOOK: lambda site, _: restore.actions(site),
    spare_plan.RUNBOOK: lambda site, _: spare.actions(site),
}


def actions(runbook: str, site: CloudSession, store: Store) -> Mapping[str, Action]:
    """Return the actions of a runbook. Raises BackstayError where there is none of that name."""
    if runbook in _RUNBOOKS:
        return _RUNBOOKS[runbook](site, store)
    raise BackstayError(
        f"looking for the runbook {runbook}",
        came_back="this version of Backstay has none of that name",
        remedy="use the version that made the plan, or: backstay runs abandon",
    )
