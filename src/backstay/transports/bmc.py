"""What can be asked of a host's BMC, whichever way it speaks.

Light: the library that speaks to it is read when it is first asked for.
"""

import asyncio
import time
from typing import Protocol
from urllib.parse import urlsplit

from backstay.transports.targets import BmcTarget

ASK_BOUND = 30.0
"""Seconds for one exchange with a BMC, its session included; many are slow."""
STATE_BOUND = 10.0
"""Seconds for which its state is waited for where many are asked, or a host waits for it."""
LISTEN_BOUND = 1.5
OFF_BOUND = 90.0
"""Seconds until power that was cut must be read back as off."""
OFF_PAUSE = 1.0


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


def power_of(target: BmcTarget) -> Power:
    """Return the way to a host's power: IPMI for ``ipmi://…``, else Redfish. Imports: heavy."""
    if target.url.startswith("ipmi:"):
        from backstay.transports.ipmi import Ipmi  # noqa: PLC0415 - pyghmi is an extra

        return Ipmi(target)
    from backstay.transports.redfish import Redfish  # noqa: PLC0415 - sushy takes its time

    return Redfish(target)


async def listens(target: BmcTarget) -> bool:
    """Say whether something listens at a BMC's address, within ``LISTEN_BOUND`` seconds.

    One that is dead is told from one that is slow. IPMI has no such sign: True.
    """
    where = urlsplit(target.url)
    if where.scheme == "ipmi":
        return True
    port = where.port or (80 if where.scheme == "http" else 443)
    try:
        async with asyncio.timeout(LISTEN_BOUND):
            _, writer = await asyncio.open_connection(where.hostname, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


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
