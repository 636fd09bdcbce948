"""What each kind of step of a reboot does."""

from collections.abc import Mapping

from backstay.journal.action import Action
from backstay.journal.store import Store
from backstay.runbooks.backup import actions as backup
from backstay.runbooks.reboot.after import Agents, Functions, Report, Settle, Units, Watching
from backstay.runbooks.reboot.before import Gates, Hooks, Note
from backstay.runbooks.reboot.going import Ask, Down, Up
from backstay.runbooks.reboot.recorder import Recorder
from backstay.runbooks.site import Site


def actions(site: Site, store: Store) -> Mapping[str, Action]:
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
