"""What each kind of step of a restore does."""

from collections.abc import Mapping
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.journal.action import Action
from backstay.runbooks.restore.cutover import Agents, Start, Stop, Swap, Tidy, Works
from backstay.runbooks.restore.rebuild_local import Fetch, Rebuild
from backstay.runbooks.restore.upload import Look, Send


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    place = Place(site.cloud)
    return {
        "look": Look(site, place),
        "fetch": Fetch(site, place),
        "rebuild": Rebuild(site, place),
        "send": Send(site, place),
        "stop": Stop(site, place),
        "swap": Swap(site, place),
        "start": Start(site, place),
        "works": Works(site, place),
        "agents": Agents(site, place),
        "tidy": Tidy(site, place),
    }
