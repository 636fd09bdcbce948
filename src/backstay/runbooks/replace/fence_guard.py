"""What keeps a fenced host off while the spare takes its place."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, InventoryError, PowerError
from backstay.health.witness.observe import Here, ask_here
from backstay.journal.action import Refused, Running
from backstay.journal.locks import LockLost
from backstay.journal.records import LeaseLost
from backstay.runbooks.replace.fence import NotFenced, answers_of, in_use, who_answers
from backstay.runbooks.replace.steps import BY_PERSON, BY_POWER, FENCE
from backstay.transports.bmc import power_of
from backstay.transports.power import STATE_BOUND, Power
from backstay.transports.targets import BmcTarget

PAUSE = 1.0
"""Seconds between two readings of its power: no server gets through its firmware in that time."""


@contextlib.asynccontextmanager
async def guarded(
    site: CloudSession, running: Running, power: Callable[[BmcTarget], Power] = power_of
) -> AsyncIterator[None]:
    """Watch the old host's power during this block, and switch it off again where it comes on.

    A person who presses its button, or mains that come back to a board that cannot be set to stay
    off, would give the cloud two hosts with one address. This takes a few seconds, in which the
    firmware of a server has not started its system; what boots faster (a virtual machine) could
    answer for a moment. A BMC that does not answer meanwhile stops nothing: nothing could be done.
    Without a *fence* by power among the results, or before it, nothing is watched.

    Where the block fails the power is read once more: that it came on may be why, and nothing
    guards it until the run is resumed. A run that has lost its lease powers nothing off.
    """
    board = _power(site, running, power)
    if board is None:
        yield
        return
    came_on = asyncio.Event()
    guard = asyncio.ensure_future(_watch(running, board, came_on))
    try:
        yield
    except BaseException as error:
        await _ended(guard)
        await _keep_off(running, board, came_on)
        if came_on.is_set() and isinstance(error, BackstayError):
            error.remedy = f"{_keep_away(running)}; then: {error.remedy}"
        raise
    finally:
        await _ended(guard)


def _power(
    site: CloudSession, running: Running, power: Callable[[BmcTarget], Power]
) -> Power | None:
    """Return the way to the old host's power, None where there is nothing to be watched."""
    try:
        target = old_bmc(site, running)
    except InventoryError:
        return None
    return power(target) if target else None


async def _watch(running: Running, power: Power, came_on: asyncio.Event) -> None:
    while True:
        await _keep_off(running, power, came_on)
        await asyncio.sleep(PAUSE)


async def _keep_off(running: Running, power: Power, came_on: asyncio.Event) -> None:
    """Take its power where it has some, and note that. Raises no PowerError.

    A run that was abandoned must not switch off what its operator has switched on since.
    """
    with contextlib.suppress(PowerError, LeaseLost, LockLost):
        if await power.state(bound=STATE_BOUND):
            running.require_lease()
            came_on.set()
            running.report(f"{running.plan.targets[0]} was switched on: switching it off again")
            await power.off()


async def _ended(task: "asyncio.Future[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _keep_away(running: Running) -> str:
    return (
        f"{running.plan.targets[0]} was switched on meanwhile, and switched off again: make sure "
        "that nobody switches it on, best unplug its cables"
    )


async def still_fenced(
    site: CloudSession,
    running: Running,
    *,
    adopted: Collection[str] = (),
    power: Callable[[BmcTarget], Power] = power_of,
    here: Here = ask_here,
) -> None:
    """Make sure that the host of this run is still fenced, just before its address is adopted.

    And once more just after, with ``adopted``: the hardware addresses that may answer then, the
    spare's own. Its power is read again where it was fenced so, and every witness asks by ARP:
    under 5 seconds. Raises Refused where it never was fenced, NotFenced, PowerError.
    """
    suspect, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    attempted = f"giving the address of {suspect} to {spare}"
    fenced = running.find(FENCE)
    if fenced is None or fenced.how not in {BY_POWER, BY_PERSON}:
        raise Refused(
            attempted,
            came_back=f"no step of this run has made sure that {suspect} is off",
            remedy=f"{running.abandon}; then start the replacement again",
        )
    if fenced.how == BY_POWER:
        target = old_bmc(site, running)
        if target is None or await power(target).state() is not False:
            raise NotFenced(
                attempted,
                came_back=f"the BMC of {suspect} reports power on again: it was switched on",
                remedy="switch it off, make sure that it stays off (unplug its cables), then: "
                f"{running.resume}",
            )
    found = await who_answers(site, running, here)
    answers = answers_of(found, {mac.lower() for mac in adopted})
    if answers:
        raise in_use(running, site.host(suspect).address, answers)


def old_bmc(site: CloudSession, running: Running) -> BmcTarget | None:
    """Return the BMC by which the host was fenced in this run, None where it was not.

    It is known by the URL that *fence* wrote down: once cloud.yaml has been changed the host's name
    is that of the spare, which must never be powered off. Raises InventoryError.
    """
    suspect = running.plan.targets[0]
    fenced = running.find(FENCE)
    if fenced is None or fenced.how != BY_POWER:
        return None
    known = [site.host(suspect).bmc, *(old.bmc for old in site.cloud.fenced.values())]
    return next((bmc.target(suspect) for bmc in known if bmc and bmc.url == fenced.bmc), None)
