"""The runbooks by their names: what each kind of step of a written-down plan does."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace as replace_fields

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.health.check import second_hosts
from backstay.journal.action import Refused, Runbook, Running
from backstay.journal.records import RunRecord
from backstay.journal.store import Store
from backstay.maintenance import gates
from backstay.maintenance.refusal import GatesRefused
from backstay.runbooks import power_off, restart, spare
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.backup import plan as backup_plan
from backstay.runbooks.common.host_lease import leased
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
    power_off.RUNBOOK: lambda site, _: power_off.runbook(site),
    reattach_plan.RUNBOOK: lambda site, _: Runbook(actions=reattach.actions(site)),
    reboot_plan.RUNBOOK: reboot.runbook,
    reconcile_plan.RUNBOOK: lambda site, _: Runbook(actions=reconcile.actions(site)),
    replace_plan.RUNBOOK: replace.runbook,
    restart.RUNBOOK: lambda site, _: Runbook(actions=restart.actions(site)),
    restore_plan.RUNBOOK: lambda site, _: Runbook(actions=restore.actions(site)),
    spare.RUNBOOK: lambda site, _: Runbook(actions=spare.actions(site)),
}


_UNGATED = {backup_plan.RUNBOOK, power_off.RUNBOOK, reboot_plan.RUNBOOK, spare.RUNBOOK}
"""Runbooks that may start while there are two hosts in one place.

They change no service, put that right, or ask all gates by themselves.
"""


def runbook_of(run: RunRecord, site: CloudSession, store: Store) -> Runbook:
    """Return what carries a run out. Raises BackstayError where there is no such runbook."""
    name = run.plan.runbook
    if name in _RUNBOOKS:
        runbook = _RUNBOOKS[name](site, store)
        gated = runbook if name in _UNGATED else _gated(runbook, site)
        return leased(gated, run, site)
    raise BackstayError(
        f"looking for the runbook {name}",
        came_back="this version of Backstay has none of that name",
        remedy=f"use the version that made the plan, or: backstay runs abandon {run.id}",
    )


def _gated(runbook: Runbook, session: CloudSession) -> Runbook:
    """Return the runbook with the question whether there are two hosts in one place before it."""

    @asynccontextmanager
    async def around(running: Running) -> AsyncIterator[object]:
        if running.step.id == running.plan.steps[0].id:
            await _refuse_second_hosts(session, running)
        async with runbook.around(running) as entered:
            yield entered

    return replace_fields(runbook, around=around)


async def _refuse_second_hosts(session: CloudSession, running: Running) -> None:
    """Raise Refused where there are two hosts in one place, unless the gate is skipped."""
    if gates.HEALTHY in running.plan.settings.get("skip_gates", ()):
        return
    # A run's own hosts are not waited for: a replacement's is dead. Witnesses that are left out of
    # it as they lie are not asked here either.
    without = running.plan.settings.get("without_witnesses") or ()
    found = await second_hosts(session, but_not=[*running.plan.targets, *without])
    refusals = gates.second_hosts(found, session.cloud)
    if refusals:
        why = GatesRefused(f"starting {running.run}", refusals)
        raise Refused(why.attempted, came_back=why.came_back, remedy=why.remedy, lines=True)
