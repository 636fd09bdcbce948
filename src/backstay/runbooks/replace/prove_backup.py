"""The step that proves the first backup of the new host: what was lost may show in it."""

from backstay.errors import BackupError
from backstay.journal.action import Action, Result, Running


class Prove:
    """Verifies the new backup; one that cannot be is told, and is no failure of the replacement."""

    def __init__(self, verify: Action) -> None:
        self.verify = verify

    async def do(self, running: Running) -> Result:
        """Verify. The backup that fails is marked so, and the older ones stay."""
        try:
            return await self.verify.do(running)
        except BackupError as error:
            return {"problem": error.came_back, "told": f"NOT verified: {error.came_back}"}

    async def probe(self, running: Running) -> Result | None:
        """Do it again."""
        return None
