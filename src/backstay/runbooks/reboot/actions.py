"""What each kind of step of a reboot does."""

from collections.abc import Mapping

from backstay.access.session import CloudSession
from backstay.journal.action import Action
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.common.outage_recorder import Recorder
from backstay.runbooks.reboot.postflight import Agents, Functions, Report, Settle, Units, Watching
from backstay.runbooks.reboot.power_cycle import Ask, Down, Up
from backstay.runbooks.reboot.preflight import Gates, Hooks, Note


def actions(site: CloudSession, store: Store) -> Mapping[str, Action]:
    """Return what each kind of step does."""
    recorder = Recorder()
    hooks = site.cloud.maintenance.hooks
    return {
        **backup.actions(site),
        "gates": Gates(site, store),
        "before": Hooks(site, hooks.before, may_refuse=True),
        "backup": Hooks(site, hooks.backup),
        "note": Note(site, recorder),
        "drain": Hooks(site, hooks.drain),
        "ask": Ask(site),
        "down": Watching(Down(site), recorder),
        "up": Watching(Up(site), recorder),
        "units": Watching(Units(site), recorder),
        "functions": Watching(Functions(site, recorder), recorder),
        "agents": Watching(Agents(site), recorder),
        "settle": Watching(Settle(site), recorder),
        "undrain": Hooks(site, hooks.undrain),
        "report": Report(recorder),
        "after": Hooks(site, hooks.after),
    }
