"""The step that proves the first backup of the new host: what was lost may show in it."""

from dataclasses import dataclass
from typing import Any

from backstay.errors import BackupError
from backstay.journal.action import Action, Result, Running


@dataclass(frozen=True)
class Prove(Action[Result]):
    """Verifies the new backup; one that cannot be is told, and is no failure of the replacement."""

    verify: Action[Any]

    async def do(self, running: Running) -> Result:
        """Verify. The backup that fails is marked so, and the older ones stay."""
        try:
            found: Result = await self.verify.do(running)
            return found
        except BackupError as error:
            return {"problem": error.came_back, "told": f"NOT verified: {error.came_back}"}
