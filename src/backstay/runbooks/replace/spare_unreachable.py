"""What the operator is told where the spare is out of reach: it may be as dead as the lost host."""

from backstay.errors import HostUnreachable
from backstay.journal.action import Action, Result, Running


class SpareUnreachableHint:
    """An action on the spare; where that is not reached the error says which machine it is.

    By its name alone nobody would know: once the spare has the lost host's place, it is called so.
    """

    def __init__(self, action: Action) -> None:
        self.action = action

    async def do(self, running: Running) -> Result:
        """Do what the action does. Raises HostUnreachable with what to do if the spare is lost."""
        try:
            return await self.action.do(running)
        except HostUnreachable as error:
            error.remedy = remedy(error, running)
            raise

    async def probe(self, running: Running) -> Result | None:
        """Ask what the action asks."""
        try:
            return await self.action.probe(running)
        except HostUnreachable as error:
            error.remedy = remedy(error, running)
            raise


def remedy(error: HostUnreachable, running: Running) -> str:
    """Return what to do; the error's own remedy where it is about another host. Pure."""
    host, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    if not {host, spare} & set(error.attempted.split()):
        return error.remedy
    adopted = any(
        step.action == "adopt" and step.id in running.results for step in running.plan.steps
    )
    which = f"that is {spare}, which has the place of {host} by now: " if adopted else ""
    return (
        f"{which}see at its BMC and console what is the matter, then: backstay runs resume "
        f"{running.run}; where it is lost too, or has another disk: power it off, backstay runs "
        f"abandon {running.run}, and begin anew with another spare"
    )
