"""The step that makes sure that a dead host is off and stays off, before another takes its place.

Two hosts must never answer with one address. What keeps the old one from it:

- It may come back between *confirm* and *fence*. Unless its BMC says that it is off, everybody is
  asked once more just before, by ARP and ping, and about everything where the verdict is older than
  ``FRESH``: a host that is there again is not powered off but left alone. What comes back in the
  seconds after that is powered off by force, and that is read back.
- It may come back between *fence* and *adopt*. Its BMC was told to start nothing by itself, as far
  as it offers that; and ``fence_guard.still_fenced`` is to be asked just before another host is
  given its address, and just after: it reads the power again and asks everybody by ARP.
- It may be switched on while the spare is built and has its address already: every step after
  *fence* runs within ``fence_guard.guarded``, which takes its power before it has booted.
- It may come back later, switched on by somebody. ``backstay check`` reads the power of every host
  under ``fenced`` in cloud.yaml, and fails where one is on.
- The BMC in cloud.yaml may be that of another host. Then that one is off, and as it was a witness
  it is missed at once: the step fails before anybody adopts an address.
- Without a working BMC nothing keeps it off but the person who vouched for it, and who is asked to
  take its cables out; and silence by ARP proves only that it is off its network now.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, InventoryError, PowerError
from backstay.health.witness.evidence import HostEvidence, Witness
from backstay.health.witness.judge import HostVerdict, Verdict, judge
from backstay.health.witness.observe import (
    AskPower,
    Here,
    ask_here,
    ask_power,
    look,
    look_for_address,
)
from backstay.journal.action import Action, Refused, Result, Running
from backstay.runbooks.replace.outages import OutageRecording
from backstay.transports.bmc import power_of
from backstay.transports.power import STATE_BOUND, Power
from backstay.transports.targets import BmcTarget

FENCE_BOUND = 240.0
"""Seconds that the step may take: its power (``OFF_BOUND``), a BMC that does not answer, a look."""
BY_POWER, BY_WORD = "power", "word"
"""How a host was fenced: its power was read back as off, or a person vouched for it."""


class NotFenced(BackstayError):
    """A host that was powered off is not out of the way: the run can be gone on with later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Off:
    """A host that is off: ``how`` that is known, what its BMC could not do, who found silence."""

    how: str
    missed: Sequence[str] = ()
    silent_for: Sequence[str] = ()


@dataclass(frozen=True)
class Fence(Action[Result]):
    """Powers the host off by its BMC and reads it back; else asks for silence and a person's word.

    ``power`` gives the way to a BMC, ``here`` asks this machine.
    """

    site: CloudSession
    power: Callable[[BmcTarget], Power] = power_of
    here: Here = ask_here

    async def do(self, running: Running) -> Result:
        """Fence it. Safe to repeat: a host that is off is read back, no more.

        Raises Refused where it was not confirmed dead, or where nothing was done and it is not
        sure that it is off; NotFenced where it was powered off and its address still answers.
        """
        suspect = running.plan.targets[0]
        await self._refuse_unless_confirmed(running)
        trouble = ""
        try:
            missed = await self._by_power(running)
        except (PowerError, InventoryError) as error:
            missed, trouble = None, f"{error.attempted}: {error.came_back}"
        found = await self._who_answers(running)
        answers = answers_of(found)
        if missed is None:
            await self._refuse_unless_vouched(running, trouble, found)
        elif answers:
            raise in_use(suspect, self.site.host(suspect).address, answers)
        else:
            self._see_that_only_it_is_off(running, found)
        off = _Off(
            how=BY_WORD if missed is None else BY_POWER,
            missed=missed or (),
            silent_for=_silent(found),
        )
        return self._result(running, off, trouble)

    async def probe(self, running: Running) -> Result | None:
        """Find that it is fenced where its BMC says off and nobody answers with its address."""
        suspect = running.plan.targets[0]
        if await self._is_on(suspect) is not False:
            return None
        found = await self._who_answers(running)
        if answers_of(found):
            return None  # doing it again says what is the matter
        missed = await self._power_of(suspect).keep_off()
        off = _Off(how=BY_POWER, missed=missed, silent_for=_silent(found))
        return self._result(running, off, "")

    async def _refuse_unless_confirmed(self, running: Running) -> None:
        """Refuse where nobody found it dead, or where it is not dead any more."""
        suspect = running.plan.targets[0]
        confirmed = running.results.get(f"{suspect}.confirm", {})
        if confirmed.get("verdict") != Verdict.DEAD:
            raise Refused(
                f"fencing {suspect}",
                came_back="it was not confirmed dead in this run",
                remedy=f"backstay runs abandon {running.run}, and begin anew",
            )
        if await self._is_on(suspect) is False:
            return
        if time.time() - confirmed["asked_at"] > FRESH:
            running.say("it was found dead a while ago: asking everybody again")
        elif answers := answers_of(await self._who_answers(running)):
            running.say(f"it has come back ({'; '.join(answers)}): asking everybody again")
        else:
            return
        refuse_unless_dead(judge(await self._look(suspect)))

    async def _look(self, suspect: str) -> HostEvidence:
        async def power(target: BmcTarget) -> bool | None:
            return await self.power(target).state(bound=STATE_BOUND)

        return await look(self.site, suspect, here=self.here, power=power)

    async def _by_power(self, running: Running) -> list[str]:
        """Power it off, read back; return what its BMC could not be told. Raises PowerError."""
        suspect = running.plan.targets[0]
        power = self._power_of(suspect)
        running.say(f"powering off {suspect} by its BMC")
        await power.off()
        missed = await power.keep_off()
        await power.off()  # the mains may have come back before it was told to stay off
        return missed

    def _see_that_only_it_is_off(self, running: Running, found: Sequence[Witness]) -> None:
        """Raise NotFenced where a witness is gone since: the BMC may be that of another host."""
        suspect = running.plan.targets[0]
        spoke = set(running.results[f"{suspect}.confirm"].get("spoke", ()))
        gone = sorted(
            witness.name for witness in found if witness.trouble and witness.name in spoke
        )
        if gone:
            raise NotFenced(
                f"fencing {suspect}",
                came_back=f"its BMC says off, but since then {', '.join(gone)} cannot be asked",
                remedy=f"make sure that `bmc` of {suspect} in cloud.yaml is not that of {gone[0]}; "
                f"then: backstay runs resume {running.run}",
            )

    def _power_of(self, suspect: str) -> Power:
        """Return the way to its power. Raises PowerError where it has no BMC."""
        target = self.site.cloud.bmc_target(self.site.host(suspect))
        if target is None:
            raise PowerError(
                f"powering off {suspect}",
                came_back="it has no BMC in cloud.yaml",
                remedy="give it `bmc` in cloud.yaml",
            )
        return self.power(target)

    async def _is_on(self, suspect: str) -> bool | None:
        """Return whether its BMC says that it is on, None where it does not say."""
        try:
            return await self._power_of(suspect).state(bound=STATE_BOUND)
        except (PowerError, InventoryError):
            return None

    async def _refuse_unless_vouched(
        self, running: Running, trouble: str, found: Sequence[Witness]
    ) -> None:
        """Refuse unless its address is silent for its own network, and a person vouches for it."""
        suspect = running.plan.targets[0]
        missing = []
        if await self._is_on(suspect):  # a BMC that did not obey, say
            missing.append("its BMC says that it has power, whatever anybody vouches for")
        missing += [f"its address answers ({answer})" for answer in answers_of(found)]
        if not any(witness.macs == () for witness in found):
            why = "; ".join(f"{w.name}: {w.trouble or w.no_arp}" for w in found if not w.signs)
            missing.append(f"no host on its network found it silent by ARP: {why}".rstrip(": "))
        if not running.plan.settings.get("confirmed_fenced"):
            missing.append("nobody has vouched for it that it is off")
        if missing:
            raise Refused(
                f"fencing {suspect}",
                came_back=f"{trouble}; so it is not sure that it is off: {'; '.join(missing)}",
                remedy=f"mend its BMC; or take the power and the network cables out of {suspect} "
                f"by hand, and vouch for that: backstay replace ... --confirm-fenced {suspect}",
            )

    async def _who_answers(self, running: Running) -> tuple[Witness, ...]:
        suspect, spare = running.plan.targets[0], str(running.plan.settings["spare"])
        running.say("asking by ARP who answers with its address")
        return await look_for_address(self.site, suspect, also=[spare], here=self.here)

    def _result(self, running: Running, off: _Off, trouble: str) -> dict[str, Any]:
        suspect = running.plan.targets[0]
        bmc = self.site.host(suspect).bmc
        told = [f"vouched for by a person: {trouble}"]
        if off.how == BY_POWER:
            told = ["power off, read back by its BMC", *off.missed]
        told.append(f"its address is silent for {len(off.silent_for)} witnesses")
        if off.how == BY_WORD:
            told.append(f"nothing keeps {suspect} from coming back: take its cables out")
        return {
            "how": off.how,
            "bmc": bmc.url if bmc else "",
            "not_set": list(off.missed),
            "silent_for": list(off.silent_for),
            "fenced_at": time.time(),
            "told": "; ".join(told),
        }


def answers_of(found: Sequence[Witness], adopted: Collection[str] = ()) -> list[str]:
    """Return who finds the address in use, and by whom; ``adopted`` are whose it may be.

    With somebody having adopted it only hardware addresses tell the one from the other.
    """
    answers = []
    for witness in found:
        strange = sorted(set(witness.macs or ()) - set(adopted))
        if strange:
            answers.append(f"{witness.name}: {' and '.join(strange)}")
        elif witness.signs and not adopted:
            answers.append(f"{witness.name}: {', '.join(witness.signs)}")
    return answers


def in_use(suspect: str, address: str, answers: Sequence[str]) -> NotFenced:
    """Return the error for an address that is in use."""
    return NotFenced(
        f"fencing {suspect}",
        came_back=f"something answers with its address {address}: {'; '.join(answers)}",
        remedy="find what has that hardware address (the switch's address table, ip neigh) and "
        "take it from the network; then: backstay runs resume",
    )


def _silent(found: Sequence[Witness]) -> list[str]:
    """Return who could ask and got no answer."""
    return [witness.name for witness in found if witness.spoke and not witness.signs]


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
