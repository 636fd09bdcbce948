"""A host's power, whichever way its BMC is asked: what can be asked of it, and until when."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from backstay.errors import PowerError, PowerOrdered
from backstay.transports.hardware import Hardware

ASK_BOUND = 30.0
"""Seconds for one exchange with a BMC, its session included; many are slow."""
STATE_BOUND = 10.0
"""Seconds for which its state is waited for where many are asked, or a host waits for it."""
OFF_BOUND = 90.0
"""Seconds until power that was cut must be read back as off."""
OFF_PAUSE = 1.0


def no_bmc(host: str) -> PowerError:
    """Return the error for a host whose power is to be cut and that has no BMC."""
    return PowerError(
        f"powering off {host}",
        came_back="it has no BMC in cloud.yaml",
        remedy="give it `bmc` in cloud.yaml",
    )


class Power(Protocol):
    """The power of one host by its BMC. All raise PowerError."""

    async def state(self, *, bound: float = ASK_BOUND) -> bool | None:
        """Return whether it is on; None where it is neither: it is being switched, or unknown."""

    async def off(self) -> None:
        """Take its power by force; return when it is read back as off."""

    async def keep_off(self) -> list[str]:
        """Set what keeps it from coming on by itself; return what could not be set, and why."""

    async def cycle(self) -> None:
        """Restart the host by force, or power it on where it is off."""


@runtime_checkable
class TellsHardware(Protocol):
    """A way to a host's power that can tell which machine is behind it."""

    async def hardware(self) -> Hardware:
        """Return the ids of the machine behind the BMC. Raises PowerError."""


async def hardware_behind(power: Power) -> Hardware:
    """Return the ids of the machine behind a BMC, none where it does not tell them."""
    if not isinstance(power, TellsHardware):
        return Hardware()
    try:
        return await power.hardware()
    except PowerError:
        return Hardware()


async def cut_until_off(power: Power, order: Callable[[], Awaitable[str]], *, words: str) -> None:
    """Give an order and read the power until it is off, for ``OFF_BOUND`` seconds.

    ``order`` returns why it is not clear that it was taken, empty where it was; it raises
    PowerError where nothing was sent or it was refused. From then on a BMC that is busy, ends a
    connection or does not answer is one without an answer for a moment, no more: what it answers to
    the order is no proof, neither way. An order that is not clear is given again as long as the
    BMC reports on. ``words`` name the order. Raises PowerError where it was not sent, PowerOrdered
    where it was and the power is not read back as off.
    """
    until = time.monotonic() + OFF_BOUND
    unclear = await order()
    pause, seen = OFF_PAUSE, ""
    while True:
        try:
            state = await power.state(bound=_for_one(until))
        except PowerError as error:
            seen, pause = f"its answer since: {error.came_back}", min(2 * pause, 5 * OFF_PAUSE)
        else:
            if state is False:
                return
            reports = "on" if state else "neither on nor off"
            seen, pause = f"its BMC still reports that it is {reports}", OFF_PAUSE
            if state and unclear and time.monotonic() < until:
                with contextlib.suppress(PowerError):
                    unclear = await order()
        if time.monotonic() > until:
            break
        await asyncio.sleep(pause)
    first = f"; to the order it answered: {unclear}" if unclear else ""
    raise PowerOrdered(
        "powering off",
        came_back=f"{words} was sent, and the power was not read back as off within "
        f"{OFF_BOUND:g} s: {seen}{first}",
        remedy="it may be off, or go off yet: see",
    )


async def state_soon(power: Power) -> bool | None:
    """Return whether it is on, by a BMC that may be busy for a moment; None where it is neither.

    Raises PowerError where it gave no usable answer for ``ASK_BOUND`` seconds.
    """
    until = time.monotonic() + ASK_BOUND
    while True:
        try:
            state = await power.state(bound=_for_one(until))
        except PowerError:
            if time.monotonic() > until:
                raise
        else:
            if state is not None or time.monotonic() > until:
                return state
        await asyncio.sleep(OFF_PAUSE)


def _for_one(until: float) -> float:
    """Return the bound for one reading: as long as a slow BMC needs, while there is time."""
    return max(STATE_BOUND, min(ASK_BOUND, until - time.monotonic()))
