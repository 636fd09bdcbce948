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
        on, trouble = await _state(name, host, power or _ask, bound)
        return judge(name, host, on, trouble, now=now)

    return list(await asyncio.gather(*(find(name, host) for name, host in fenced.items())))


def judge(name: str, host: Fenced, on: bool | None, trouble: str, *, now: datetime) -> Finding:
    """Judge one host by its power: None where that is not known, and ``trouble`` says why.

    Even one that is off is a warning: whoever presses its button gives the cloud a second host
    with the address of the one in its place.
    """
    since = f"{host.was} was replaced {duration((now - host.since).total_seconds())} ago"
    away = f"take {name} from the network, then its entry under `fenced` out of cloud.yaml"
    if on:
        severity, seen = Severity.FAILED, f"its power is on: it may answer as {host.was}"
        remedy = f"switch it off at once ({host.bmc.url if host.bmc else 'by hand'}); {away}"
    elif on is False:
        severity, seen, remedy = Severity.WARNING, "only fenced: its power is off by its BMC", away
    elif host.bmc is None:
        severity, seen, remedy = Severity.WARNING, "only fenced, and it has no BMC to ask", away
    else:
        severity, seen = Severity.UNKNOWN, f"only fenced, and its power is not known: {trouble}"
        remedy = f"look whether it is off ({host.bmc.url}); {away}"
    return Finding(
        host=name,
        service="host",
        subject=SUBJECT,
        severity=severity,
        evidence=f"{seen}; {since}",
        remedy=remedy,
    )


async def _state(name: str, host: Fenced, power: AskPower, bound: float) -> tuple[bool | None, str]:
    if host.bmc is None:
        return None, ""
    try:
        async with asyncio.timeout(bound):
            on = await power(host.bmc.target(name))
    except BackstayError as error:
        return None, error.came_back
    except TimeoutError:
        return None, f"its BMC gave no answer within {bound:g} s"
    return on, "" if on is not None else "its BMC says neither on nor off"


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
