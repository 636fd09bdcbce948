"""What keeps a fenced host off while the spare takes its place."""

import asyncio
import contextlib
from collections.abc import Callable, Collection

from backstay.errors import InventoryError, PowerError
from backstay.health.witness.look import Here, ask_here, look_for_address
from backstay.journal.action import Action, Refused, Result, Running
from backstay.runbooks.replace.fencing import (
    BY_POWER,
    BY_WORD,
    NotFenced,
    answers_of,
    in_use,
)
from backstay.runbooks.site import Site
from backstay.transports.bmc import STATE_BOUND, Power, power_of
from backstay.transports.target import BmcTarget

PAUSE = 1.0
"""Seconds between two looks at its power: no server gets through its firmware in that time."""


class Guarded:
    """An action during which the old host's power is watched, and taken again where it comes on.

    A person who presses its button, or mains that come back to a board that cannot be told to stay
    off, would give the cloud two hosts with one address. This takes a few seconds, in which the
    firmware of a server has not started its system; what boots faster (a virtual machine) could
    answer for a moment. A BMC that does not answer meanwhile stops nothing: nothing could be done.
    Without a *fence* by power among the results, or before it, nothing is watched.
    """

    def __init__(
        self, site: Site, action: Action, power: Callable[[BmcTarget], Power] = power_of
    ) -> None:
        self.site = site
        self.action = action
        self.power = power

    async def do(self, running: Running) -> Result:
        """Do what the action does, watching."""
        guard = asyncio.ensure_future(self._watch(running))
        try:
            return await self.action.do(running)
        finally:
            guard.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await guard

    async def probe(self, running: Running) -> Result | None:
        """Ask what the action asks."""
        return await self.action.probe(running)

    async def _watch(self, running: Running) -> None:
        try:
            target = old_bmc(self.site, running)
        except InventoryError:
            return
        if target is None:
            return
        suspect, power = running.plan.targets[0], self.power(target)
        while True:
            with contextlib.suppress(PowerError):
                if await power.state(bound=STATE_BOUND):
                    running.say(f"{suspect} was switched on: taking its power again")
                    await power.off()
            await asyncio.sleep(PAUSE)


async def still_fenced(
    site: Site,
    running: Running,
    *,
    adopted: Collection[str] = (),
    power: Callable[[BmcTarget], Power] = power_of,
    here: Here = ask_here,
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
        target = old_bmc(site, running)
        if target is None or await power(target).state() is not False:
            raise NotFenced(
                attempted,
                came_back=f"the BMC of {suspect} does not say off any more: it was switched on",
                remedy="switch it off and see to it that it stays off; then: backstay runs resume",
            )
    found = await look_for_address(site, suspect, also=[spare], here=here)
    answers = answers_of(found, {mac.lower() for mac in adopted})
    if answers:
        raise in_use(suspect, site.host(suspect).address, answers)


def old_bmc(site: Site, running: Running) -> BmcTarget | None:
    """Return the BMC by which the host was fenced in this run, None where it was not.

    It is known by the URL that *fence* wrote down: once cloud.yaml has been changed the host's name
    is that of the spare, which must never be powered off. Raises InventoryError.
    """
    suspect = running.plan.targets[0]
    fenced = running.results.get(f"{suspect}.fence", {})
    if fenced.get("how") != BY_POWER:
        return None
    known = [site.host(suspect).bmc, *(old.bmc for old in site.cloud.fenced.values())]
    return next((bmc.target(suspect) for bmc in known if bmc and bmc.url == fenced["bmc"]), None)
