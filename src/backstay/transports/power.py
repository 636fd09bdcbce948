"""A host's power, whichever way its BMC is asked: what can be asked of it, and until when."""

import asyncio
import time
from typing import Protocol, runtime_checkable

from backstay.errors import PowerError
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


async def until_off(power: Power) -> bool:
    """Read the power until it is off; return False after ``OFF_BOUND`` seconds.

    What a BMC answers to the request is no proof. Raises PowerError.
    """
    until = time.monotonic() + OFF_BOUND
    while await power.state() is not False:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(OFF_PAUSE)
    return True
