"""What each kind of step of a reboot does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backstay.access.session import CloudSession
from backstay.journal.action import Action, Runbook, Running
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.reboot.postflight import Agents, Functions, Report, Settle, Units
from backstay.runbooks.reboot.power_cycle import Ask, Down, Up
from backstay.runbooks.reboot.preflight import Gates, Hooks, Note

_RECORDED = frozenset({"down", "up", "units", "functions", "agents", "settle"})
"""The steps during which outages are recorded, by another process too than the one that started."""


def runbook(site: CloudSession, store: Store) -> Runbook:
    """Return how a reboot is carried out: what each kind of step does, outages recorded meanwhile.

    Where another process resumes the run the recording is started again, of the same targets.
    """
    recorder = OutageRecorder()
    hooks = site.cloud.maintenance.hooks
    actions: dict[str, Action[Any]] = {
        **backup.actions(site),
        "gates": Gates(site, store),
        "before": Hooks(site, hooks.before, may_refuse=True),
        "backup": Hooks(site, hooks.backup),
        "note": Note(site, recorder),
        "drain": Hooks(site, hooks.drain),
        "ask": Ask(site),
        "down": Down(site),
        "up": Up(site),
        "units": Units(site),
        "functions": Functions(site, recorder),
        "agents": Agents(site),
        "settle": Settle(site),
        "undrain": Hooks(site, hooks.undrain),
        "report": Report(recorder),
        "after": Hooks(site, hooks.after),
    }

    @asynccontextmanager
    async def around(running: Running) -> AsyncIterator[None]:
        if running.step.action in _RECORDED and not recorder.on:
            noted = running.results[f"{running.step.target}.note"]
            recorder.start(noted["apis"], noted["instances"])
        yield

    return Runbook(actions=actions, around=around)
