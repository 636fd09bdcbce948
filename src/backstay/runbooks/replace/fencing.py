"""The step that makes sure that a dead host is off and stays off, before another takes its place.

Two hosts must never answer with one address. What keeps the old one from it:

- It may come back between *confirm* and *fence*. A verdict older than ``FRESH`` is not trusted:
  everybody is asked again, and a host that is alive is not powered off but left alone. Within that
  time it is powered off by force whatever it does, and that is read back: it cannot have taken
  part in anything for longer than a minute.
- It may come back between *fence* and *adopt*. Its BMC was told to start nothing by itself, as far
  as it offers that; and ``still_fenced`` is to be asked by whoever gives its address to another
  host, just before and just after: it reads the power again and asks everybody by ARP.
- It may come back later, switched on by somebody. ``backstay check`` reads the power of every host
  under ``fenced`` in cloud.yaml, and fails where one is on.
- Without a working BMC nothing keeps it off but the person who vouched for it, and who is asked to
  take its cables out; and silence by ARP proves only that it is off its network now.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.errors import BackstayError, InventoryError, PowerError
from backstay.health.witness.judged import Verdict, judge
from backstay.health.witness.look import look, look_for_address
from backstay.health.witness.seen import Witness
from backstay.journal.action import Refused, Result, Running
from backstay.runbooks.replace.confirming import FRESH, refuse_unless_dead
from backstay.runbooks.site import Site
from backstay.transports.bmc import STATE_BOUND, Power, power_of
from backstay.transports.target import BmcTarget

BOUND = 240.0
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


class Fence:
    """Powers the host off by its BMC and reads it back; else asks for silence and a person's word.

    ``power`` gives the way to a BMC.
    """

    def __init__(self, site: Site, power: Callable[[BmcTarget], Power] = power_of) -> None:
        self.site = site
        self.power = power

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
        answers = _answers(found)
        if missed is None:
            await self._refuse_unless_vouched(running, trouble, found)
        elif answers:
            raise _answered(suspect, self.site.host(suspect).address, answers)
        how = BY_WORD if missed is None else BY_POWER
        return _result(running, _Off(how=how, missed=missed or (), silent_for=_silent(found)),
                       trouble)  # fmt: skip

    async def probe(self, running: Running) -> Result | None:
        """Find that it is fenced where its BMC says off and nobody answers with its address."""
        suspect = running.plan.targets[0]
        if await self._is_on(suspect) is not False:
            return None
        found = await self._who_answers(running)
        if _answers(found):
            return None  # doing it again says what is the matter
        missed = await self._power_of(suspect).keep_off()
        return _result(running, _Off(how=BY_POWER, missed=missed, silent_for=_silent(found)), "")

    async def _refuse_unless_confirmed(self, running: Running) -> None:
        """Refuse where nobody found it dead; look again where that was a while ago."""
        suspect = running.plan.targets[0]
        confirmed = running.results.get(f"{suspect}.confirm", {})
        if confirmed.get("verdict") != Verdict.DEAD:
            raise Refused(
                f"fencing {suspect}",
                came_back="it was not confirmed dead in this run",
                remedy=f"backstay runs abandon {running.run}, and begin anew",
            )
        stale = time.time() - confirmed["asked_at"] > FRESH
        if stale and await self._is_on(suspect) is not False:
            running.say("it was found dead a while ago: asking everybody again")
            refuse_unless_dead(judge(await look(self.site, suspect)))

    async def _by_power(self, running: Running) -> list[str]:
        """Power it off, read back; return what its BMC could not be told. Raises PowerError."""
        suspect = running.plan.targets[0]
        power = self._power_of(suspect)
        running.say(f"powering off {suspect} by its BMC")
        await power.off()
        return await power.keep_off()

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
        missing += [f"its address answers ({answer})" for answer in _answers(found)]
        if not any(witness.macs == () for witness in found):
            why = "; ".join(f"{w.name}: {w.trouble or w.no_arp}" for w in found if not w.signs)
            missing.append(f"no host on its network found it silent by ARP: {why}".rstrip(": "))
        if not running.plan.settings.get("vouched"):
            missing.append("nobody has vouched for it that it is off")
        if missing:
            raise Refused(
                f"fencing {suspect}",
                came_back=f"{trouble}; so it is not sure that it is off: {'; '.join(missing)}",
                remedy=f"mend its BMC; or take the power and the network cables out of {suspect} "
                "by hand, and vouch for that by typing its name when replace asks for it",
            )

    async def _who_answers(self, running: Running) -> tuple[Witness, ...]:
        suspect, spare = running.plan.targets[0], str(running.plan.settings["spare"])
        running.say("asking by ARP who answers with its address")
        return await look_for_address(self.site, suspect, also=[spare])


async def still_fenced(
    site: Site,
    running: Running,
    *,
    adopted: Collection[str] = (),
    power: Callable[[BmcTarget], Power] = power_of,
) -> None:
    """Make sure that the host of this run is still fenced, just before its address is adopted.

    And once more just after, with ``adopted``: the hardware addresses that answer rightly then, the
    spare's own. Its power is read again where it was fenced so, and everybody is asked by ARP:
    under 5 seconds. Raises Refused where it never was fenced, NotFenced, PowerError.
    """
    suspect, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    attempted = f"giving the address of {suspect} to {spare}"
    fenced = running.results.get(f"{suspect}.fence", {}).get("how")
    if fenced not in {BY_POWER, BY_WORD}:
        raise Refused(
            attempted,
            came_back=f"{suspect} is not fenced",
            remedy=f"backstay runs abandon {running.run}, and begin anew",
        )
    if fenced == BY_POWER:
        target = site.cloud.bmc_target(site.host(suspect))
        if target is None or await power(target).state() is not False:
            raise NotFenced(
                attempted,
                came_back=f"the BMC of {suspect} does not say off any more: it was switched on",
                remedy="switch it off and see to it that it stays off; then: backstay runs resume",
            )
    found = await look_for_address(site, suspect, also=[spare])
    answers = _answers(found, {mac.lower() for mac in adopted})
    if answers:
        raise _answered(suspect, site.host(suspect).address, answers)


def _answers(found: Sequence[Witness], adopted: Collection[str] = ()) -> list[str]:
    """Return who finds the address in use by another than who has adopted it.

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


def _answered(suspect: str, address: str, answers: Sequence[str]) -> NotFenced:
    return NotFenced(
        f"fencing {suspect}",
        came_back=f"something answers with its address {address}: {'; '.join(answers)}",
        remedy="find what has that hardware address (the switch's address table, ip neigh) and "
        "take it from the network; then: backstay runs resume",
    )


def _silent(found: Sequence[Witness]) -> list[str]:
    """Return who could ask and got no answer."""
    return [witness.name for witness in found if witness.spoke and not witness.signs]


def _result(running: Running, off: _Off, trouble: str) -> dict[str, Any]:
    suspect = running.plan.targets[0]
    told = [
        "power off, read back by its BMC"
        if off.how == BY_POWER
        else f"vouched for by {running.plan.settings.get('vouched_by', 'a person')}: {trouble}"
    ]
    told += off.missed
    told.append(f"its address is silent for {len(off.silent_for)} witnesses")
    if off.how == BY_WORD:
        told.append(f"nothing keeps {suspect} from coming back: take its cables out")
    return {
        "how": off.how,
        "not_set": list(off.missed),
        "silent_for": list(off.silent_for),
        "fenced_at": time.time(),
        "told": "; ".join(told),
    }
