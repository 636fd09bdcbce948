"""What keeps a fenced host off while the spare takes its place."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from backstay.access.session import CloudSession
from backstay.errors import BackstayError, InventoryError, PowerError
from backstay.health.witness.observe import Here, ask_here
from backstay.journal.action import Refused, Running
from backstay.journal.locks import LockLost
from backstay.journal.records import LeaseLost
from backstay.runbooks.common.power_actions import Board, cut
from backstay.runbooks.common.which_machine import AnotherMachine, require_same
from backstay.runbooks.replace.address_in_use import NotFenced, answers_of, in_use, who_answers
from backstay.runbooks.replace.steps import BY_PERSON, BY_POWER, FENCE
from backstay.transports.bmc import power_of
from backstay.transports.hardware import Hardware, hardware_of
from backstay.transports.power import STATE_BOUND, Power, state_soon
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
    Without a *fence* by power among the results, or before it, nothing is watched. Other hosts that
    had the address before, under ``fenced`` in cloud.yaml, are watched too.

    Where the block fails the power is read once more: that it came on may be why, and nothing
    guards it until the run is resumed. A run that has lost its lease powers nothing off, nor does
    any where another machine is behind the BMC now.
    """
    boards = _boards(site, running, power)
    if not boards:
        yield
        return
    came_on: set[str] = set()
    guards = [asyncio.ensure_future(_watch(running, board, came_on)) for board in boards]
    try:
        yield
    except BaseException as error:
        await _ended(guards)
        for board in boards:
            await _keep_off(running, board, came_on)
        if came_on and isinstance(error, BackstayError):
            error.remedy = f"{_keep_away(came_on)}; then: {error.remedy}"
        raise
    finally:
        await _ended(guards)


def _boards(
    site: CloudSession, running: Running, power: Callable[[BmcTarget], Power]
) -> list[Board]:
    """Return the BMCs that are to be watched."""
    suspect, found = running.plan.targets[0], dict[str, Board]()
    with contextlib.suppress(InventoryError):
        target = old_bmc(site, running)
        if target:
            noted = noted_at_fence(running)
            found[target.url] = Board(
                name=suspect, url=target.url, power=power(target), noted=noted
            )
    if running.find(FENCE) is None:
        return list(found.values())
    used = {host.bmc.url for host in site.cloud.hosts.values() if host.bmc}
    for name, old in site.cloud.fenced.items():
        if old.was == suspect and old.bmc and old.bmc.url not in used | set(found):
            with contextlib.suppress(InventoryError):
                found[old.bmc.url] = Board(
                    name=name,
                    url=old.bmc.url,
                    power=power(old.bmc.target(name)),
                    noted=hardware_of(old.uuid),
                )
    return list(found.values())


async def _watch(running: Running, board: Board, came_on: set[str]) -> None:
    while True:
        await _keep_off(running, board, came_on)
        await asyncio.sleep(PAUSE)


async def _keep_off(running: Running, board: Board, came_on: set[str]) -> None:
    """Take its power where it has some, and note that. Raises no PowerError.

    A run that was abandoned must not switch off what its operator has switched on since.
    """

    def note() -> None:
        running.require_lease()
        came_on.add(board.name)
        running.report(f"{board.name} was switched on: switching it off again")

    with contextlib.suppress(PowerError, LeaseLost, LockLost, AnotherMachine):
        if await board.power.state(bound=STATE_BOUND):
            await cut(board, note)


async def _ended(tasks: "Sequence[asyncio.Future[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _keep_away(names: Collection[str]) -> str:
    return (
        f"{' and '.join(sorted(names))} was switched on meanwhile, and switched off again: make "
        "sure that nobody switches it on, best unplug its cables"
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
    under 5 seconds. Raises Refused where it never was fenced, NotFenced, PowerError, AnotherMachine
    where its BMC is another machine's by now.
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
        if target is not None:
            noted = noted_at_fence(running)
            await require_same(power(target), noted, name=suspect, url=target.url)
        if target is None or await state_soon(power(target)) is not False:
            raise NotFenced(
                attempted,
                came_back=f"the BMC of {suspect} reports power on again: it was switched on",
                remedy="switch it off, make sure that it stays off (unplug its cables), then: "
                f"{running.resume}",
            )
    found = await who_answers(site, running, here)
    spares = {mac.lower() for mac in adopted}
    if answers_of(found, spares):
        raise in_use(running, site.cloud, found, spares)


def noted_at_fence(running: Running) -> Hardware:
    """Return the ids of the machine that was fenced in this run, as its BMC gave them."""
    fenced = running.find(FENCE)
    return Hardware() if fenced is None else hardware_of(fenced.uuid, fenced.serial)


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
