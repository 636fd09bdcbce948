"""The step that makes sure that a host is dead before anything is done to it."""

import time
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.health.witness.judge import HostVerdict, Verdict, judge
from backstay.health.witness.observe import AskPower, Here, ask_here, ask_power, look
from backstay.journal.action import Action, Refused, Result, Running
from backstay.runbooks.replace.outages import OutageRecording

CONFIRM_BOUND = 90.0
"""Seconds that the step may take; a dead host takes about 10, for connections that hang."""
FRESH = 60.0
"""Seconds for which a verdict holds: what was dead then may have been switched on since."""


@dataclass(frozen=True)
class Confirm(Action[Result]):
    """Asks everybody whether the host is dead, and refuses unless it is.

    ``here`` asks this machine, ``power`` a BMC; ``outages`` start to be recorded beside it.
    """

    site: CloudSession
    here: Here = ask_here
    power: AskPower = ask_power
    outages: OutageRecording | None = None

    async def do(self, running: Running) -> Result:
        """Look and judge. Raises Refused with what every witness says, and what to do instead."""
        if self.outages is None:
            return await self._confirmed(running)
        async with self.outages.started_beside(running) as starting:
            confirmed = await self._confirmed(running)
            return {**confirmed, "watching": (await starting).document()}

    async def _confirmed(self, running: Running) -> dict[str, Any]:
        suspect = running.plan.targets[0]
        running.say(f"asking from several places whether {suspect} is dead")
        begun = time.time()
        seen = await look(self.site, suspect, here=self.here, power=self.power)
        judged = judge(seen)
        refuse_unless_dead(judged)
        return {
            **told_of(judged),
            "spoke": [witness.name for witness in seen.spoke],
            "asked_at": begun,
            "told": judged.reason,
        }


def refuse_unless_dead(judged: HostVerdict) -> None:
    """Raise Refused unless the verdict is that the host is dead."""
    if judged.verdict is Verdict.DEAD:
        return
    words = "".join(f"\n  {word.witness}: {word.says}" for word in judged.words)
    raise Refused(
        f"making sure that {judged.suspect} is dead",
        came_back=f"{_IN_WORDS[judged.verdict]}{judged.reason}{words}",
        remedy=judged.remedy,
    )


def told_of(judged: HostVerdict) -> dict[str, object]:
    """Return a judgement as JSON data: ``verdict``, ``reason``, ``witnesses``, ``power``.

    ``witnesses`` are pairs of a name and what it says; ``power`` is what the BMC says.
    """
    return {
        "verdict": str(judged.verdict),
        "reason": judged.reason,
        "witnesses": [[w.witness, w.says] for w in judged.words if w.witness != "BMC"],
        "power": next(w.says for w in judged.words if w.witness == "BMC"),
    }


_IN_WORDS = {
    Verdict.CUT_OFF_HERE: "it is cut off from here only: ",
    Verdict.ALIVE: "it is alive: ",
    Verdict.UNHEALTHY: "",
    Verdict.UNKNOWN: "it is not known: ",
}
