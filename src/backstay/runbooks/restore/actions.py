"""What each kind of step of a restore does."""

from collections.abc import Mapping
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.journal.action import Action
from backstay.runbooks.restore import steps
from backstay.runbooks.restore.cutover import Agents, Start, Stop, Swap, Tidy, Works
from backstay.runbooks.restore.rebuild_local import Fetch, Rebuild
from backstay.runbooks.restore.upload import InspectHost, Send


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by the names of their kinds of step."""
    place = Place(site.cloud)
    return dict(
        [
            steps.LOOK.by(InspectHost(site, place)),
            steps.FETCH.by(Fetch(site, place)),
            steps.REBUILD.by(Rebuild(site, place)),
            steps.SEND.by(Send(site, place)),
            steps.STOP.by(Stop(site, place)),
            steps.SWAP.by(Swap(site, place)),
            steps.START.by(Start(site, place)),
            steps.WORKS.by(Works(site, place)),
            steps.AGENTS.by(Agents(site, place)),
            steps.TIDY.by(Tidy(site, place)),
        ]
    )
