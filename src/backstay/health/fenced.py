"""Hosts that were replaced and are only fenced: whether they are off. Judged pure."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from backstay.errors import BackstayError, PowerError
from backstay.finding import Finding, Severity
from backstay.inventory.bmc import Fenced
from backstay.quantities import duration
from backstay.transports.bmc import listens, power_of
from backstay.transports.power import STATE_BOUND
from backstay.transports.targets import BmcTarget
from backstay.transports.threads import on_thread

BOUND = 6.0
"""Seconds for one BMC: the check is not to wait longer for one that is as dead as its host."""
SUBJECT = "fenced host"
AskPower = Callable[[BmcTarget], Awaitable[bool | None]]


async def findings(
    fenced: Mapping[str, Fenced], *, bound: float, power: AskPower | None = None
) -> list[Finding]:
    """Ask every fenced host's BMC at the same time, each for ``bound`` seconds, and judge."""
    now = datetime.now(UTC)

    async def find(name: str, host: Fenced) -> Finding:
        on, trouble = await read_power(name, host, power=power, bound=bound)
        return judge(name, host, on, trouble, now=now)

    return list(await asyncio.gather(*(find(name, host) for name, host in fenced.items())))


def judge(name: str, host: Fenced, on: bool | None, trouble: str, *, now: datetime) -> Finding:
    """Judge one host by its power: None where that is not known, and ``trouble`` says why.

    Even one that is off is a warning: whoever presses its button gives the cloud a second host
    with the address of the one in its place.
    """
    since = f"{host.was} was replaced {duration((now - host.since).total_seconds())} ago"
    if on:
        severity, seen = Severity.FAILED, f"its power is on: it may answer as {host.was}"
    elif on is False:
        severity, seen = Severity.WARNING, "only fenced: its BMC reports that its power is off"
    elif host.bmc is None:
        severity, seen = Severity.WARNING, "only fenced, and it has no BMC to ask"
    else:
        severity, seen = Severity.UNKNOWN, f"only fenced, and its power is not known: {trouble}"
    return Finding(
        host=name,
        service="host",
        subject=SUBJECT,
        severity=severity,
        evidence=f"{seen}; {since}",
        remedy=remedy(name, host, on=on),
    )


def remedy(name: str, host: Fenced, *, on: bool | None) -> str:
    """Return what to do about a fenced host. Pure."""
    bmc = host.bmc.url if host.bmc else ""
    away = f"take {name} from the network, then its entry under `fenced` out of cloud.yaml"
    if on:
        return f"switch it off at once ({bmc or 'by hand'}); {away}"
    if on is None and bmc:
        return f"check whether it is off ({bmc}); {away}"
    return away


async def read_power(
    name: str, host: Fenced, *, power: AskPower | None = None, bound: float = BOUND
) -> tuple[bool | None, str]:
    """Return whether a fenced host is on, None where that is not known; and why it is not."""
    if host.bmc is None:
        return None, "it has no BMC"
    try:
        async with asyncio.timeout(bound):
            on = await (power or _ask)(host.bmc.target(name))
    except BackstayError as error:
        return None, error.came_back
    except TimeoutError:
        return None, f"its BMC gave no answer within {bound:g} s"
    except Exception as error:  # whatever its answer does to the library that reads it
        return None, f"its BMC's answer cannot be read: {type(error).__name__}: {error}"
    return on, "" if on is not None else "its BMC reports neither on nor off"


async def _ask(target: BmcTarget) -> bool | None:
    if not await listens(target):
        raise PowerError(
            f"asking for the power of {target.name}",
            came_back=f"nothing answers at {target.url}",
            remedy="is it out of its rack already?",
        )
    # The library is read on a thread: hosts and APIs are asked meanwhile.
    power = await on_thread(lambda: power_of(target), 60.0)
    return await power.state(bound=STATE_BOUND)
