"""Whether a host's address is answered by that host alone: two would be two hosts in one place.

Asked is by ARP: from this machine where it is on the network, from two of the cloud's hosts where
it is not. What answers with a second hardware address may be the same host with two cards on one
network, so the host itself is asked which it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backstay.access.session import CloudSession
from backstay.errors import HostError
from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.transports.arp import ask_own_networks, own_macs
from backstay.transports.threads import on_thread

SUBJECT = "address"
BOUND = 8.0
"""Seconds that one host, or this machine, may take to ask."""
TRIES = 2
WITNESSES = 2
_AGAIN = 0.5

AskHere = Callable[[Sequence[str]], Awaitable[Mapping[str, Sequence[str]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAddress:
    """An address that several hardware addresses (``macs``) answer for: that of ``host``."""

    host: str
    address: str
    macs: tuple[str, ...]

    @property
    def evidence(self) -> str:
        """Return it in a sentence."""
        return f"two hosts answer for {self.address} (MAC {', MAC '.join(self.macs)})"


async def ask_here(addresses: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return who answers for the addresses that are on a network of this machine; else none."""
    try:
        return await on_thread(lambda: ask_own_networks(list(addresses), TRIES), BOUND)
    except (OSError, TimeoutError, ValueError):
        return {}


async def findings(session: CloudSession, *, here: AskHere = ask_here) -> list[Finding]:
    """Return a failed finding for each address that two hosts answer for; none for the others."""
    shared = await read_shared(session, session.cloud.hosts, here=here)
    return [judge(session.cloud, one) for one in shared]


async def read_shared(
    session: CloudSession,
    hosts: Iterable[str],
    *,
    here: AskHere = ask_here,
    by: Sequence[str] | None = None,
) -> list[SharedAddress]:
    """Return the addresses of ``hosts`` that several hosts answer for.

    One that is seen so is asked about once more, and its host is asked for its own interfaces.
    ``by`` are the hosts that ask where this machine cannot; None for the first two.
    """
    by = witnesses(session.cloud) if by is None else by
    names = {session.cloud.hosts[name].address: name for name in hosts}
    first = await _answers(session, list(names), here, by)
    suspects = [address for address, macs in first.items() if len(macs) > 1]
    if not suspects:
        return []
    await asyncio.sleep(_AGAIN)
    answers = await _answers(session, suspects, here, by)
    shared = [
        SharedAddress(host=names[address], address=address, macs=tuple(sorted(macs)))
        for address, macs in answers.items()
        if len(macs) > 1
    ]
    own = await asyncio.gather(*(_own_macs(session, one.host) for one in shared))
    return [one for one, macs in zip(shared, own, strict=True) if not set(one.macs) <= macs]


async def _answers(
    session: CloudSession, addresses: Sequence[str], here: AskHere, by: Sequence[str]
) -> dict[str, set[str]]:
    found = {address: set(macs) for address, macs in (await here(addresses)).items()}
    left = [address for address in addresses if address not in found]
    if left:
        asked = (_from_host(session, name, left) for name in by)
        for answers in await asyncio.gather(*asked):
            for address, macs in answers.items():
                found.setdefault(address, set()).update(macs)
    return found


def witnesses(cloud: Cloud, *, most: int = WITNESSES) -> list[str]:
    """Return the hosts that ask where this machine is on another network: no spares.

    Of two each asks about the other.
    """
    names = [host.name for host in cloud.hosts.values() if set(host.roles) - {Role.SPARE}]
    return names[:most]


async def _from_host(
    session: CloudSession, name: str, addresses: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    try:
        found: Mapping[str, Sequence[str]] = await session.ask(
            name, ask_own_networks, list(addresses), TRIES, bound=BOUND
        )
    except HostError:  # a finding of its own
        return {}
    return found


async def _own_macs(session: CloudSession, name: str) -> set[str]:
    try:
        return set(await session.ask(name, own_macs, bound=BOUND))
    except HostError:
        return set()


def judge(cloud: Cloud, shared: SharedAddress) -> Finding:
    """Return the failed finding for an address that two hosts answer for. Pure."""
    return Finding(
        host=shared.host,
        service="host",
        subject=SUBJECT,
        severity=Severity.FAILED,
        evidence=shared.evidence,
        remedy=remedy(cloud, shared.host),
    )


def remedy(cloud: Cloud, name: str) -> str:
    """Return what to do about a second host with the address of ``name``. Pure."""
    old = [fenced for fenced, host in cloud.fenced.items() if host.was == name]
    suspect = f" ({' or '.join(old)} was replaced by it, and its BMC may not tell the truth)"
    return (
        "find by the switch's table of MACs the port of the one that is not "
        f"{name}, and take its cable out{suspect if old else ''}; then: backstay check {name}"
    )


def is_second_host(finding: Finding, fenced: Collection[str]) -> bool:
    """Return whether a finding says that there may be two hosts in one place. Pure.

    ``fenced`` are the names of cloud.yaml's fenced hosts.
    """
    if finding.severity is not Severity.FAILED:
        return False
    return finding.subject == SUBJECT or finding.host in fenced
