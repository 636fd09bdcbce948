"""What each kind of step of a backup does."""

from collections.abc import Mapping
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.journal.action import Action
from backstay.runbooks.backup.prove import Verify
from backstay.runbooks.backup.prune import Prune
from backstay.runbooks.backup.take import Bring, Database, Files, Record, Repository


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    place = Place(site.cloud)
    return {
        "repository": Repository(site, place),
        "bring": Bring(site, place),
        "files": Files(site, place),
        "database": Database(site, place),
        "record": Record(site, place),
        "verify": Verify(site, place),
        "prune": Prune(site, place),
    }
