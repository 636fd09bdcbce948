"""What each kind of step of a backup does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.backup.prune import prune
from backstay.journal.action import Action, Running
from backstay.runbooks.backup import steps
from backstay.runbooks.backup.prove import Verify
from backstay.runbooks.backup.steps import Pruned
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


@dataclass(frozen=True)
class Prune(Action[Pruned]):
    """Removes backups and binary logs that `keep` does not hold, of those the step names if any.

    What to remove is decided again in this step, so that a backup that is needed by now stays.
    """

    site: CloudSession
    place: Place

    async def do(self, running: Running) -> Pruned:
        """Remove it; what is gone already is passed over."""
        going = await prune(self.place, self.site.cloud.backup.keep, running.step.arguments)
        backups, logs = len(going.names()), len(going.logs)
        return Pruned(
            summary=f"{backups} backup{'s' * (backups != 1)} and {logs} binary "
            f"log{'s' * (logs != 1)} removed",
            backups=going.names(),
            logs=tuple(map(str, going.logs)),
        )
