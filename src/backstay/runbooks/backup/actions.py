"""What each kind of step of a backup does."""

from collections.abc import Mapping
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.journal.action import Action
from backstay.runbooks.backup import steps
from backstay.runbooks.backup.prove import Verify
from backstay.runbooks.backup.prune import Prune
from backstay.runbooks.backup.take import Bring, Database, Files, Record, Repository


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    place = Place(site.cloud)
    return dict(
        [
            steps.REPOSITORY.by(Repository(site, place)),
            steps.BRING.by(Bring(site, place)),
            steps.FILES.by(Files(site, place)),
            steps.DATABASE.by(Database(site, place)),
            steps.RECORD.by(Record(site, place)),
            steps.VERIFY.by(Verify(site, place)),
            steps.PRUNE.by(Prune(site, place)),
        ]
    )
