"""The step that removes the backups and binary logs that `keep` does not hold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.backup.prune import removal, remove
from backstay.journal.action import Action, Running
from backstay.journal.result import StepResult
from backstay.transports.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BOUND = 60.0


@dataclass(frozen=True, kw_only=True)
class Pruned(StepResult):
    """What was removed: the names of backups, and the paths of binary logs."""

    backups: tuple[str, ...]
    logs: tuple[str, ...]


class Prune(Action[Pruned]):
    """Removes what ``keep`` does not hold now; of that only what the step names, if it names any.

    It is decided again when it is done, so that a backup that is needed by now stays.
    """

    def __init__(self, session: CloudSession, place: Place) -> None:
        self._session = session
        self._place = place

    async def do(self, running: Running) -> Pruned:
        """Remove it; what is gone already is passed over."""
        keep = self._session.cloud.backup.keep
        going = await on_thread(lambda: removal(self._place, keep), _READ_BOUND)
        named: Mapping[str, list[str]] = running.step.arguments
        if named:
            going = going.among(named["backups"], named["logs"])
        await remove(self._place, going)
        backups, logs = len(going.backups), len(going.logs)
        return Pruned(
            summary=f"{backups} backup{'s' * (backups != 1)} and {logs} binary "
            f"log{'s' * (logs != 1)} removed",
            backups=tuple(backup.name for backup in going.backups),
            logs=tuple(map(str, going.logs)),
        )
