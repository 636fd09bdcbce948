"""The way to a host's power: Redfish or IPMI, by the URL of its BMC.

Light: the library that talks to the BMC is imported when it is asked for.
"""

import asyncio
from urllib.parse import urlsplit

from backstay.transports.power import Power
from backstay.transports.targets import BmcTarget

LISTEN_BOUND = 1.5
"""Seconds within which a BMC must accept a connection."""


def power_of(target: BmcTarget) -> Power:
    """Return the way to a host's power: IPMI for ``ipmi://…``, else Redfish. Imports: heavy."""
    if target.url.startswith("ipmi:"):
        from backstay.transports.ipmi import Ipmi  # noqa: PLC0415 - pyghmi is an extra

        return Ipmi(target)
    from backstay.transports.redfish import Redfish  # noqa: PLC0415 - sushy takes its time

    return Redfish(target)


async def listens(target: BmcTarget) -> bool:
    """Return whether a BMC accepts a connection within ``LISTEN_BOUND`` seconds.

    This tells a dead BMC from a slow one. IPMI runs over UDP and cannot be tested this way: True.
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
