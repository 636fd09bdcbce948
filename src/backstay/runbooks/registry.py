"""The runbooks by their names: what each kind of step of a written-down plan does."""

from collections.abc import Mapping

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
from backstay.runbooks.restore import actions as restore
from backstay.runbooks.restore import plan as restore_plan
from backstay.runbooks.site import Site


def actions(runbook: str, site: Site, store: Store) -> Mapping[str, Action]:
    """Return the actions of a runbook. Raises BackstayError where there is none of that name."""
    if runbook == reboot_plan.RUNBOOK:
        return reboot.actions(site, store)
    if runbook == backup_plan.RUNBOOK:
        return backup.actions(site)
    if runbook == restore_plan.RUNBOOK:
        return restore.actions(site)
    if runbook == reattach_plan.RUNBOOK:
        return reattach.actions(site)
    if runbook == reconcile_plan.RUNBOOK:
        return reconcile.actions(site)
    raise BackstayError(
        f"looking for the runbook {runbook}",
        came_back="this version of Backstay has none of that name",
        remedy="use the version that made the plan, or: backstay runs abandon",
    )
