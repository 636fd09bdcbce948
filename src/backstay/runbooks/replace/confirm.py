"""The step that asks whether a host is dead, before anything is done to it."""

from dataclasses import dataclass, replace

from backstay.access.session import CloudSession
from backstay.answers import clean
from backstay.clock import moment
from backstay.health.witness.judge import HostVerdict, Verdict, judge
from backstay.health.witness.observe import (
    AskPower,
    Here,
    ask_here,
    ask_power,
    gather_evidence,
)
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Refused, Running
from backstay.runbooks.replace.address_in_use import again_without, left_out
from backstay.runbooks.replace.outages import OutageRecording
from backstay.runbooks.replace.steps import ConfirmedDead

CONFIRM_BOUND = 90.0
"""Seconds that the step may take; a dead host takes about 10, for connections that hang."""
FRESH = 60.0
"""Seconds for which a verdict holds: what was dead then may have been switched on since."""


@dataclass(frozen=True)
class Confirm(Action[ConfirmedDead]):
    """Asks all witnesses whether the host is dead, and refuses unless it is.

    ``here`` asks this machine, ``power`` a BMC; ``outages`` start to be recorded beside it.
    """

    site: CloudSession
    here: Here = ask_here
    power: AskPower = ask_power
    outages: OutageRecording | None = None

    async def do(self, running: Running) -> ConfirmedDead:
        """Observe and judge. Raises Refused with all evidence, and what to do instead."""
        if self.outages is None:
            return await self._confirmed(running)
        async with self.outages.started_beside(running) as starting:
            confirmed = await self._confirmed(running)
            return replace(confirmed, recording=await starting)

    async def _confirmed(self, running: Running) -> ConfirmedDead:
        suspect = running.plan.targets[0]
        running.report(f"asking from several places whether {suspect} is dead")
        started = moment()
        without = left_out(running)
        if without:
            running.report(f"left out as witnesses: {', '.join(without)}")
        seen = await gather_evidence(
            self.site, suspect, without=without, here=self.here, power=self.power
        )
        judged = judge(seen)
        refuse_unless_dead(judged, running, self.site.cloud)
        return ConfirmedDead(
            verdict=str(judged.verdict),
            reason=judged.reason,
            witnesses=tuple(
                (w.witness, w.summary) for w in judged.statements if w.witness != "BMC"
            ),
            power=next(w.summary for w in judged.statements if w.witness == "BMC"),
            spoke=tuple(witness.name for witness in seen.spoke),
            left_out=seen.left_out,
            asked_at=started.at,
            asked_boot=started.boot,
            asked_up=started.up,
            summary=judged.reason,
        )


def refuse_unless_dead(judged: HostVerdict, running: Running, cloud: Cloud) -> None:
    """Raise Refused unless the verdict is that the host is dead.

    Where a few witnesses alone see it, the remedy is also the command that leaves them out.
    """
    if judged.verdict is Verdict.DEAD:
        return
    words = "".join(f"\n  {one.witness}: {clean(one.summary)}" for one in judged.statements)
    again = again_without(running, cloud, judged.doubted)
    raise Refused(
        f"making sure that {judged.suspect} is dead",
        came_back=f"{_IN_WORDS[judged.verdict]}{clean(judged.reason)}{words}",
        remedy=f"{judged.remedy}: {again}" if again else judged.remedy,
        lines=True,
    )


_IN_WORDS = {
    Verdict.CUT_OFF_HERE: "it is cut off from here only: ",
    Verdict.ALIVE: "it is alive: ",
    Verdict.UNHEALTHY: "",
    Verdict.UNKNOWN: "it is not known: ",
}
