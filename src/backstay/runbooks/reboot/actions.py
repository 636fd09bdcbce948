"""What each kind of step of a reboot does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backstay.access.session import CloudSession
from backstay.journal.action import Action, Runbook, Running
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.reboot import steps
from backstay.runbooks.reboot.postflight import Agents, Functions, Report, Settle, Units
from backstay.runbooks.reboot.power_cycle import Ask, Down, Up
from backstay.runbooks.reboot.preflight import Gates, Hooks, Note

_RECORDED = frozenset(
    kind.name
    for kind in (steps.DOWN, steps.UP, steps.UNITS, steps.FUNCTIONS, steps.AGENTS, steps.SETTLE)
)
"""The steps during which outages are recorded, by another process too than the one that started."""


def runbook(site: CloudSession, store: Store) -> Runbook:
    """Return how a reboot is carried out: what each kind of step does, outages recorded meanwhile.

    Where another process resumes the run the recording is started again, of the same targets.
    """
    recorder = OutageRecorder()
    hooks = site.cloud.maintenance.hooks
    actions: dict[str, Action[Any]] = {
        **backup.actions(site),
        **dict(
            [
                steps.GATES.by(Gates(site, store)),
                steps.BEFORE.by(Hooks(site, hooks.before, may_refuse=True)),
                steps.BACKUP_HOOKS.by(Hooks(site, hooks.backup)),
                steps.NOTE.by(Note(site, recorder)),
                steps.DRAIN.by(Hooks(site, hooks.drain)),
                steps.ASK.by(Ask(site)),
                steps.DOWN.by(Down(site)),
                steps.UP.by(Up(site)),
                steps.UNITS.by(Units(site)),
                steps.FUNCTIONS.by(Functions(site, recorder)),
                steps.AGENTS.by(Agents(site)),
                steps.SETTLE.by(Settle(site)),
                steps.UNDRAIN.by(Hooks(site, hooks.undrain)),
                steps.REPORT.by(Report(recorder)),
                steps.AFTER.by(Hooks(site, hooks.after)),
            ]
        ),
    }

    @asynccontextmanager
    async def around(running: Running) -> AsyncIterator[None]:
        if running.step.action in _RECORDED and not recorder.on:
            noted = running.result(steps.NOTE)
            recorder.start(noted.apis, noted.instances)
        yield

    return Runbook(actions=actions, around=around)
