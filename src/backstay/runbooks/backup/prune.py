"""The step that removes the backups and binary logs that `keep` does not hold."""

from dataclasses import dataclass

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.backup.prune import removal, remove
from backstay.journal.action import Action, Running
from backstay.runbooks.backup.steps import Pruned
from backstay.transports.threads import on_thread

_READ_BOUND = 60.0


@dataclass(frozen=True)
class Prune(Action[Pruned]):
    """Removes what ``keep`` does not hold now; of that only what the step names, if it names any.

    It is decided again when it is done, so that a backup that is needed by now stays.
    """

    site: CloudSession
    place: Place

    async def do(self, running: Running) -> Pruned:
        """Remove it; what is gone already is passed over."""
        keep = self.site.cloud.backup.keep
        going = await on_thread(lambda: removal(self.place, keep), _READ_BOUND)
        named = running.step.arguments
        if named:
            going = going.among(named["backups"], named["logs"])
        await remove(self.place, going)
        backups, logs = len(going.backups), len(going.logs)
        return Pruned(
            summary=f"{backups} backup{'s' * (backups != 1)} and {logs} binary "
            f"log{'s' * (logs != 1)} removed",
            backups=tuple(backup.name for backup in going.backups),
            logs=tuple(map(str, going.logs)),
        )
