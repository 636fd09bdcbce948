"""Look at one host from everywhere: this machine, the other hosts, its BMC, its own check."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from backstay.access.session import CloudSession
from backstay.answers import BadAnswer, convert
from backstay.errors import BackstayError, HostError, HostUnreachable
from backstay.finding import Severity
from backstay.health.check import check_hosts
from backstay.health.witness import onhost
from backstay.health.witness.evidence import (
    OPERATOR,
    AliveAnswer,
    HostEvidence,
    Login,
    Power,
    Witness,
    WitnessAnswer,
    read_witness,
)
from backstay.health.witness.selection import witnesses
from backstay.inventory.cloud import Cloud, Host
from backstay.services.by_host import units_on
from backstay.transports.bmc import power_of
from backstay.transports.power import STATE_BOUND
from backstay.transports.targets import BmcTarget
from backstay.transports.threads import on_thread

LOOK_BOUND = 15.0
LOGIN_BOUND = 4.0
"""Seconds for a login, its connection included: the others have answered by then."""
CHECK_BOUND = 30.0
SSH_PORT = 22

Here = Callable[[str, Sequence[int], bool], Awaitable[dict[str, Any]]]
AskPower = Callable[[BmcTarget], Awaitable[bool | None]]


async def ask_here(address: str, ports: Sequence[int], quick: bool) -> dict[str, Any]:
    """Ask this machine what the other hosts are asked. Raises TimeoutError."""
    return await on_thread(lambda: onhost.witness(address, list(ports), quick), LOOK_BOUND)


async def ask_power(target: BmcTarget) -> bool | None:
    """Return whether a BMC reports that its host is on. Raises PowerError."""
    # The library is read on a thread: it takes its time, and the hosts are asked meanwhile.
    power = await on_thread(lambda: power_of(target), 60.0)
    return await power.state(bound=STATE_BOUND)


async def gather_evidence(
    site: CloudSession,
    suspect: str,
    *,
    without: Collection[str] = (),
    here: Here = ask_here,
    power: AskPower = ask_power,
) -> HostEvidence:
    """Observe a host from everywhere at the same time. Errors are in the result, not raised.

    ``without`` are witnesses that the operator leaves out: they are not asked. Its check is waited
    for only where any witness saw a sign of life.
    """
    host = site.cloud.hosts[suspect]
    checking = asyncio.ensure_future(_failed(site, suspect))
    try:
        mine, login, others, powered = await asyncio.gather(
            _here(here, host.address, _ports(site, host)),
            _login(site, suspect),
            _others(site, host, witnesses(site.cloud, suspect, without), quick=False),
            power_seen(site.cloud, host, power),
        )
        seen = HostEvidence(
            suspect=suspect,
            address=host.address,
            operator=mine,
            login=login,
            others=(*others, *(Witness(name=name, left_out=True) for name in without)),
            power=powered,
        )
        if not seen.alive_for_operator:
            return seen
        return replace(seen, failed=await _in_time(checking))
    finally:
        checking.cancel()


async def ask_address(
    site: CloudSession,
    suspect: str,
    *,
    also: Sequence[str] = (),
    without: Collection[str] = (),
    here: Here = ask_here,
) -> tuple[Witness, ...]:
    """Ask once more who answers with a host's address, by ARP and ping only: under 3 seconds.

    Asked are this machine, the witnesses but those in ``without``, and ``also``: a spare on the
    same network counts here.
    """
    host = site.cloud.hosts[suspect]
    names = list(dict.fromkeys([*witnesses(site.cloud, suspect, without), *also]))
    mine, others = await asyncio.gather(
        _here(here, host.address, [], quick=True), _others(site, host, names, quick=True)
    )
    return (mine, *others)


def _ports(site: CloudSession, host: Host) -> list[int]:
    """Return the ports of the services that the host's roles have, and of its SSH.

    Left out is the database: only the host's own services ask it, and it counts every
    greeting that is not finished against whoever asked.
    https://mariadb.com/docs/server/ha-and-performance/optimization-and-tuning/system-variables/server-system-variables#max_connect_errors
    """
    ports = {
        port
        for service, unit in units_on(site.cloud, host, site.services)
        if not service.keeps_databases
        for port in unit.ports
    }
    return sorted({site.cloud.ssh_target(host).port or SSH_PORT, *ports})


async def _here(here: Here, address: str, ports: Sequence[int], *, quick: bool = False) -> Witness:
    try:
        return read_witness(OPERATOR, convert(WitnessAnswer, await here(address, ports, quick)))
    except TimeoutError:
        return Witness(name=OPERATOR, trouble=f"no answer within {LOOK_BOUND:g} s")
    except BadAnswer as error:
        return Witness(name=OPERATOR, trouble=str(error))


async def _others(
    site: CloudSession, host: Host, names: Sequence[str], *, quick: bool
) -> tuple[Witness, ...]:
    ports = [] if quick else _ports(site, host)

    async def ask(name: str) -> Witness:
        try:
            answer = await site.ask(
                name,
                onhost.witness,
                host.address,
                ports,
                quick,
                returns=WitnessAnswer,
                bound=LOOK_BOUND,
            )
        except BackstayError as error:
            return Witness(name=name, trouble=error.came_back)
        return read_witness(name, answer)

    return tuple(await asyncio.gather(*map(ask, names)))


async def _login(site: CloudSession, suspect: str) -> Login:
    """Log in to the suspect: by way of a jump host it may answer when nothing else does."""
    try:
        async with asyncio.timeout(LOGIN_BOUND):
            answer = await site.ask(suspect, onhost.alive, returns=AliveAnswer, bound=LOGIN_BOUND)
    except TimeoutError:
        return Login(error=f"no login within {LOGIN_BOUND:g} s")
    except HostUnreachable as error:
        return Login(error=error.came_back)
    except HostError as error:
        return Login(error=error.came_back, there=not error.elsewhere)
    return Login(boot_id=answer.boot_id, there=True)


async def power_seen(cloud: Cloud, host: Host, power: AskPower) -> Power:
    """Return what a host's BMC reports of its power. Errors are in the result, not raised."""
    try:
        target = cloud.bmc_target(host)
        if target is None:
            return Power(on=None, message="it has no BMC in cloud.yaml")
        on = await power(target)
    except (BackstayError, TimeoutError) as error:
        came_back = error.came_back if isinstance(error, BackstayError) else "not asked in time"
        return Power(on=None, message=came_back)
    return Power(on=on, message="" if on is not None else "its BMC reports neither on nor off")


async def _failed(site: CloudSession, suspect: str) -> tuple[str, ...]:
    """Return what ``check`` finds failed of the suspect, in words."""
    findings = await check_hosts(site, [suspect])
    return tuple(
        f"{finding.subject}: {finding.evidence}"
        for finding in findings
        if finding.severity is Severity.FAILED and finding.host == suspect
    )


async def _in_time(checking: "asyncio.Future[tuple[str, ...]]") -> tuple[str, ...] | None:
    try:
        async with asyncio.timeout(CHECK_BOUND):  # as transports.threads has it, not wait_for
            return await checking
    except TimeoutError:
        return None
