"""The step that makes sure that a dead host is off and stays off before another takes its place.

Two hosts must never answer with one address. What keeps the old one from it:

- It may come back between *confirm* and *fence*. Unless its BMC says that it is off, every witness
  is asked once more just before, by ARP and ping, and about everything where the verdict is older
  than ``FRESH``: a host that is there again is not powered off but left alone. What comes back in
  the seconds after that is powered off by force, and that is read back.
- It may come back between *fence* and *adopt*. Its BMC was set to start nothing by itself, as far
  as it offers that; and ``fence_guard.still_fenced`` is called just before another host is given
  its address, and just after: it reads the power again and asks every witness by ARP.
- It may be switched on while the spare is built and has its address already: every step after
  *fence* runs within ``fence_guard.guarded``, which takes its power before it has booted.
- It may come back later, switched on by a person. ``backstay check`` reads the power of every host
  under ``fenced`` in cloud.yaml, and fails where one is on.
- The BMC in cloud.yaml may be that of another host. The UUID behind it is compared with that of the
  host, which was noted with its backup, before anything is powered off (``which_machine``). Where
  either is not known that one is off then, and as it was a witness it is missed at once: the step
  fails before any host adopts an address.
- Without a working BMC nothing keeps it off but the person who confirmed that it is off, and who is
  asked to unplug its cables; and silence by ARP proves only that it is off its network now.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, InventoryError, PowerError, PowerOrdered
from backstay.health.witness.evidence import HostEvidence, Witness
from backstay.health.witness.judge import Verdict, judge
from backstay.health.witness.observe import (
    Here,
    ask_here,
    gather_evidence,
)
from backstay.journal.action import Action, Refused, Running
from backstay.runbooks.common.power_actions import Board, cut_for_good
from backstay.runbooks.common.which_machine import (
    AnotherMachine,
    Noted,
    describe,
    noted_with_backup,
    require_own_bmc,
)
from backstay.runbooks.replace.address_in_use import (
    NotFenced,
    answers_of,
    in_use,
    left_out,
    who_answers,
)
from backstay.runbooks.replace.confirm import FRESH, refuse_unless_dead
from backstay.runbooks.replace.steps import (
    BY_PERSON,
    BY_POWER,
    CONFIRM,
    Fenced,
)
from backstay.transports.bmc import power_of
from backstay.transports.hardware import Hardware
from backstay.transports.power import STATE_BOUND, Power, no_bmc
from backstay.transports.targets import BmcTarget

FENCE_BOUND = 480.0
"""Seconds that the step may take: its power (``OFF_BOUND``, twice), a BMC that is slow, ARP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Off:
    """A host that is off: ``how`` that is known, what its BMC could not do, who found silence."""

    how: str
    missed: Sequence[str] = ()
    silent_for: Sequence[str] = ()
    behind: Hardware = field(default_factory=Hardware)
    compared: str = ""


@dataclass(frozen=True)
class Fence(Action[Fenced]):
    """Powers the host off by its BMC and reads it back; else it takes silence and a confirmation.

    ``power`` gives the way to a BMC, ``here`` asks this machine, ``noted`` returns the ids that the
    host itself gave.
    """

    site: CloudSession
    power: Callable[[BmcTarget], Power] = power_of
    here: Here = ask_here
    noted: Noted = noted_with_backup

    async def do(self, running: Running) -> Fenced:
        """Fence it. Safe to repeat: a host that is off is read back, no more.

        Raises Refused where it was not confirmed dead, or where nothing was done and it is not
        sure that it is off; NotFenced where it was powered off and its address still answers, and
        where that was ordered and could not be read back.
        """
        try:
            return await self._fenced(running)
        except Refused as error:
            if not running.again:
                raise
            raise NotFenced(
                error.attempted,
                came_back=f"{error.came_back}; an earlier attempt of this step may have cut its "
                "power",
                remedy=error.remedy,
            ) from error

    async def _fenced(self, running: Running) -> Fenced:
        await self._refuse_unless_confirmed(running)
        trouble, behind, another, ordered = "", Hardware(), False, False
        try:
            behind = await self._behind(running)
            missed = await self._by_power(running)
        except AnotherMachine as error:
            if not running.plan.settings.get("confirmed_fenced"):
                raise self._another(running, error) from error
            missed, trouble, another = None, f"{error.attempted}: {error.came_back}", True
        except (PowerError, InventoryError) as error:
            missed, trouble = None, f"{error.attempted}: {error.came_back}"
            ordered = isinstance(error, PowerOrdered)
        found = await self._who_answers(running)
        answers = answers_of(found)
        if missed is None:
            missing = await self._not_confirmed_off(running, found, asks_bmc=not another)
            if missing:
                raise self._not_off(running, f"{trouble}; {missing}", ordered=ordered)
        elif answers:
            raise in_use(running, self.site.cloud, found)
        else:
            self._refuse_if_another_is_off(running, found)
        off = _Off(
            how=BY_PERSON if missed is None else BY_POWER,
            missed=missed or (),
            silent_for=_silent(found),
            behind=behind,
            compared=describe(self.noted(self.site, running), behind),
        )
        return self._result(running, off, trouble)

    async def probe(self, running: Running) -> Fenced | None:
        """Find it fenced where its BMC reports power off and nothing answers with its address."""
        suspect = running.plan.targets[0]
        if await self._is_on(suspect) is not False:
            return None
        found = await self._who_answers(running)
        if answers_of(found):
            return None  # doing it again raises the error
        try:
            behind = await self._behind(running)
        except (AnotherMachine, PowerError, InventoryError):
            return None  # as above
        missed = await self._by_power(running)
        off = _Off(
            how=BY_POWER,
            missed=missed,
            silent_for=_silent(found),
            behind=behind,
            compared=describe(self.noted(self.site, running), behind),
        )
        return self._result(running, off, "")

    async def _behind(self, running: Running) -> Hardware:
        """Return which machine is behind its BMC.

        Raises AnotherMachine where it is another one, PowerError where it has no BMC.
        """
        board = self._board(running)
        await require_own_bmc(self.site.cloud, board.name)
        return await board.require_same()

    def _board(self, running: Running) -> Board:
        """Return its BMC, and what is noted of it. Raises PowerError where it has no BMC."""
        suspect = running.plan.targets[0]
        power, bmc = self._power_of(suspect), self.site.host(suspect).bmc
        noted = self.noted(self.site, running)
        return Board(name=suspect, url=bmc.url if bmc else "", power=power, noted=noted)

    def _another(self, running: Running, error: AnotherMachine) -> Refused:
        suspect, spare = running.plan.targets[0], running.plan.settings["spare"]
        return Refused(
            error.attempted,
            came_back=error.came_back,
            remedy=f"{error.remedy}; or, if its mainboard was replaced since that backup: unplug "
            f"power and network of {suspect} by hand and confirm that: {running.abandon}; backstay "
            f"replace {suspect} --with {spare} --confirm-fenced {suspect}",
        )

    async def _refuse_unless_confirmed(self, running: Running) -> None:
        """Refuse where it was not found dead, or is not dead any more."""
        suspect = running.plan.targets[0]
        confirmed = running.find(CONFIRM)
        if confirmed is None or confirmed.verdict != Verdict.DEAD:
            raise Refused(
                f"fencing {suspect}",
                came_back="it was not confirmed dead in this run",
                remedy=f"{running.abandon}; then start the replacement again",
            )
        if await self._is_on(suspect) is False:
            return
        if confirmed.age > FRESH:
            running.report("it was found dead a while ago: asking all witnesses again")
        elif answers := answers_of(await self._who_answers(running)):
            running.report(f"it has come back ({'; '.join(answers)}): asking all witnesses again")
        else:
            return
        seen = await self._look(suspect, left_out(running))
        refuse_unless_dead(judge(seen), running, self.site.cloud)

    async def _look(self, suspect: str, without: Sequence[str]) -> HostEvidence:
        async def power(target: BmcTarget) -> bool | None:
            return await self.power(target).state(bound=STATE_BOUND)

        return await gather_evidence(
            self.site, suspect, without=without, here=self.here, power=power
        )

    async def _by_power(self, running: Running) -> list[str]:
        """Power it off, read back; return what its BMC could not be set to.

        Raises PowerError, AnotherMachine.
        """
        suspect = running.plan.targets[0]
        running.report(f"powering off {suspect} by its BMC")
        return await cut_for_good(self._board(running))

    def _refuse_if_another_is_off(self, running: Running, found: Sequence[Witness]) -> None:
        """Raise NotFenced where a witness is gone since: the BMC may be that of another host."""
        suspect = running.plan.targets[0]
        spoke = set(running.result(CONFIRM).spoke)
        gone = sorted(
            witness.name for witness in found if witness.trouble and witness.name in spoke
        )
        if gone:
            raise NotFenced(
                f"fencing {suspect}",
                came_back=f"its BMC reports power off, but {', '.join(gone)} cannot be asked now",
                remedy=f"make sure that `bmc` of {suspect} in cloud.yaml is not that of {gone[0]}; "
                f"then: {running.resume}",
            )

    def _power_of(self, suspect: str) -> Power:
        """Return the way to its power. Raises PowerError where it has no BMC."""
        target = self.site.cloud.bmc_target(self.site.host(suspect))
        if target is None:
            raise no_bmc(suspect)
        return self.power(target)

    async def _is_on(self, suspect: str) -> bool | None:
        """Return whether its BMC says that it is on, None where it does not say."""
        try:
            return await self._power_of(suspect).state(bound=STATE_BOUND)
        except (PowerError, InventoryError):
            return None

    async def _not_confirmed_off(
        self, running: Running, found: Sequence[Witness], *, asks_bmc: bool
    ) -> str:
        """Return why it is not sure that it is off; empty where it is silent, and a person says so.

        Its BMC is asked too, unless it is known to be another machine's.
        """
        suspect = running.plan.targets[0]
        missing = []
        if asks_bmc and await self._is_on(suspect):  # for example a BMC that did not obey
            missing.append("its BMC reports power on, whatever was confirmed")
        missing += [f"its address answers ({answer})" for answer in answers_of(found)]
        if not any(witness.macs == () for witness in found):
            why = "; ".join(f"{w.name}: {w.trouble or w.no_arp}" for w in found if not w.signs)
            missing.append(f"no host on its network found it silent by ARP: {why}".rstrip(": "))
        if not running.plan.settings.get("confirmed_fenced"):
            missing.append("no person has confirmed that it is off")
        return f"so it is not sure that it is off: {'; '.join(missing)}" if missing else ""

    def _not_off(self, running: Running, came_back: str, *, ordered: bool) -> BackstayError:
        """Return the error for a host that is not proved off.

        Where its power was ordered off that is done, or may be: the run is not over, and says so.
        """
        suspect = running.plan.targets[0]
        confirm = (
            f"backstay replace {suspect} --with {running.plan.settings['spare']} "
            f"--confirm-fenced {suspect}"
        )
        by_hand = f"unplug power and network of {suspect} by hand and confirm that:"
        attempted = f"fencing {suspect}"
        if ordered:
            return NotFenced(
                attempted,
                came_back=came_back,
                remedy=f"see at the BMC's own page or console whether it is off, then: "
                f"{running.resume}; or {by_hand} {running.abandon}; {confirm}",
            )
        return Refused(
            attempted, came_back=came_back, remedy=f"fix its BMC; or {by_hand} {confirm}"
        )

    async def _who_answers(self, running: Running) -> tuple[Witness, ...]:
        running.report("asking by ARP who answers with its address")
        return await who_answers(self.site, running, self.here)

    def _result(self, running: Running, off: _Off, trouble: str) -> Fenced:
        suspect = running.plan.targets[0]
        bmc = self.site.host(suspect).bmc
        words = [f"confirmed by a person: {trouble}"]
        if off.how == BY_POWER:
            words = ["power off, read back by its BMC", off.compared, *off.missed]
        words.append(f"its address is silent for {len(off.silent_for)} witnesses")
        if off.how == BY_PERSON:
            words.append(f"nothing keeps {suspect} from coming back: unplug its cables")
        return Fenced(
            how=off.how,
            bmc=bmc.url if bmc else "",
            not_set=tuple(off.missed),
            silent_for=tuple(off.silent_for),
            fenced_at=time.time(),
            uuid=off.behind.uuid,
            serial=off.behind.serial,
            summary="; ".join(words),
        )


def _silent(found: Sequence[Witness]) -> list[str]:
    """Return who could ask and got no answer."""
    return [witness.name for witness in found if witness.spoke and not witness.signs]
