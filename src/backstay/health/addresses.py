"""Whether a host's address is answered by that host alone: two would be two hosts in one place.

Asked is by ARP: from this machine where it is on the network, from two of the cloud's hosts where
it is not. What answers with a second hardware address may be the same host with two cards on one
network, so the host itself is asked which it has.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backstay.access.session import CloudSession
from backstay.answers import Line, Mac
from backstay.commands import command
from backstay.errors import HostError
from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.transports.arp import AT_ONCE, ask_own_networks, own_macs
from backstay.transports.threads import on_thread
from backstay.transports.urls import is_ip_address

SUBJECT = "address"
BOUND = 8.0
"""Seconds that all who ask may take, and one more for each 50 addresses."""
TRIES = 2
WITNESSES = 2
_AGAIN = 1.0
"""Seconds between two rounds: an address that moves between hosts has settled by then."""
_LEAST = 1.0

AskHere = Callable[[Sequence[str], float], Awaitable[Mapping[str, Sequence[str]]]]
"""Asks about addresses from this machine, within a bound in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAddress:
    """An address that several hardware addresses (``macs``) answer for: that of ``host``.

    ``own_known`` is whether the host itself could be asked which of them are its own. ``seen_by``
    are the hosts that say so, none where this machine found it.
    """

    host: str
    address: str
    macs: tuple[str, ...]
    own_known: bool = True
    seen_by: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """Return it in a sentence."""
        found = f"two hosts answer for {self.address} (MAC {', MAC '.join(self.macs)})"
        if self.own_known:
            return found
        return f"{found}, unless both are its own: {self.host} could not be asked which are"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressReading:
    """Who answers for the hosts' addresses. A host in no field: nothing answered for its address.

    Attributes:
        shared: the addresses that several hosts answer for.
        alone: the hosts for each of whose addresses exactly one host answers.
        not_asked: the addresses that could not be asked about, because all who tried failed.
        trouble: why they failed; empty where none did.
        by_hosts: whether hosts of the cloud had to ask, because this machine could not.

    """

    shared: tuple[SharedAddress, ...] = ()
    alone: frozenset[str] = frozenset()
    not_asked: tuple[str, ...] = ()
    trouble: str = ""
    by_hosts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What one round of questions gave: MACs by address; the rest as in ``AddressReading``."""

    macs: Mapping[str, set[str]]
    not_asked: tuple[str, ...] = ()
    trouble: str = ""
    by_hosts: bool = False


async def ask_here(addresses: Sequence[str], bound: float) -> Mapping[str, Sequence[str]]:
    """Return who answers for the addresses that are on a network of this machine; else none."""
    try:
        return await on_thread(lambda: ask_own_networks(list(addresses), TRIES), bound)
    except (OSError, TimeoutError, ValueError):
        return {}


async def findings(
    session: CloudSession, *, here: AskHere = ask_here, but_not: Collection[str] = ()
) -> list[Finding]:
    """Return a failed finding for each address that two hosts answer for; none for the others.

    One that is unknown says where nobody could ask. ``but_not`` are hosts that are not to ask.
    """
    by = witnesses(session.cloud, but_not=but_not)
    reading = await read_addresses(session, session.cloud.hosts, here=here, by=by)
    failed = [judge(session.cloud, shared) for shared in reading.shared]
    return [*failed, *([_not_asked(reading)] if reading.not_asked else [])]


async def read_addresses(
    session: CloudSession,
    hosts: Iterable[str],
    *,
    here: AskHere = ask_here,
    by: Sequence[str] | None = None,
) -> AddressReading:
    """Return who answers for the addresses of ``hosts``.

    Where several answer for one, all of the cloud's are asked about once more, and its host is
    asked for its own interfaces. Left out is who answers for most addresses: that is a router with
    proxy ARP. ``by`` are the hosts that ask where this machine cannot; None for the first two.
    """
    by = witnesses(session.cloud) if by is None else by
    everyone = _addresses(session.cloud, session.cloud.hosts)
    names = _addresses(session.cloud, hosts)
    first = await _ask(session, list(names), here, by)
    routers = _routers(first.macs)
    macs = {address: found - routers for address, found in first.macs.items()}
    shared: list[SharedAddress] = []
    if suspects := [address for address, found in macs.items() if len(found) > 1]:
        await asyncio.sleep(_AGAIN)
        again = await _ask(session, list(everyone), here, by)
        routers |= _routers(again.macs)
        macs |= {address: again.macs.get(address, set()) - routers for address in suspects}
        both = [address for address in suspects if len(macs[address]) > 1]
        judged = await asyncio.gather(*(_shared(session, names[a], a, macs[a]) for a in both))
        who = tuple(by) if again.by_hosts else ()
        shared = [replace(found, seen_by=who) for found in judged if found is not None]
    second = {found.address for found in shared}
    return AddressReading(
        shared=tuple(shared),
        alone=frozenset(names[a] for a, found in macs.items() if found and a not in second),
        not_asked=first.not_asked,
        trouble=first.trouble,
        by_hosts=first.by_hosts,
    )


def _addresses(cloud: Cloud, hosts: Iterable[str]) -> dict[str, str]:
    """Return hosts' names by their IP addresses: by ARP and by neighbour solicitation."""
    return {cloud.hosts[n].address: n for n in hosts if is_ip_address(cloud.hosts[n].address)}


def _routers(answers: Mapping[str, set[str]]) -> set[str]:
    """Return the MACs that answer for most addresses: not for two, as a machine may that has both.

    The spare that takes a controller's place has its own address and that of the controller.
    """
    answered = sum(bool(macs) for macs in answers.values())
    counts = Counter(mac for macs in answers.values() for mac in macs)
    return {mac for mac, count in counts.items() if count > 1 and 2 * count > answered}


async def _ask(
    session: CloudSession, addresses: Sequence[str], here: AskHere, by: Sequence[str]
) -> _Round:
    """Ask once, all within one bound: from here, then by hosts about what is not asked yet."""
    bound = min(session.cloud.bounds.host_seconds, BOUND + len(addresses) / AT_ONCE)
    until = time.monotonic() + bound
    answered = await here(addresses, bound) if addresses else {}
    found = {address: set(macs) for address, macs in answered.items()}
    left = [address for address in addresses if address not in found]
    if not left:
        return _Round(macs=found)
    rest = until - time.monotonic()
    if rest < min(_LEAST, bound / 2):
        return _Round(macs=found, not_asked=tuple(left), trouble=f"no answer within {bound:g} s")
    answers = await asyncio.gather(*(_from_host(session, name, left, rest) for name in by))
    troubles = [answer for answer in answers if isinstance(answer, HostError)]
    for answer in answers:
        if not isinstance(answer, HostError):
            for address, macs in answer.items():
                found.setdefault(address, set()).update(macs)
    if len(troubles) < len(answers):
        return _Round(macs=found, by_hosts=True)
    why = "; ".join(f"{error.attempted}: {error.came_back}" for error in troubles)
    return _Round(
        macs=found,
        not_asked=tuple(left),
        trouble=why or "this machine cannot ask, and there is no host that could",
        by_hosts=bool(by),
    )


def witnesses(cloud: Cloud, *, most: int = WITNESSES, but_not: Collection[str] = ()) -> list[str]:
    """Return the hosts that ask where this machine is on another network: no spares.

    Of two each asks about the other. ``but_not`` are hosts that are left out.
    """
    names = [host.name for host in cloud.hosts.values() if set(host.roles) - {Role.SPARE}]
    return [name for name in names if name not in but_not][:most]


async def _from_host(
    session: CloudSession, name: str, addresses: Sequence[str], bound: float
) -> Mapping[str, Sequence[str]] | HostError:
    try:
        found = await session.ask(
            name,
            ask_own_networks,
            list(addresses),
            TRIES,
            returns=dict[Line, tuple[Mac, ...]],
            bound=bound,
        )
    except HostError as error:
        return error
    return {address: macs for address, macs in found.items() if address in set(addresses)}


async def _shared(
    session: CloudSession, name: str, address: str, macs: set[str]
) -> SharedAddress | None:
    """Return the shared address, None where the host itself has all these MACs."""
    bound = min(session.cloud.bounds.host_seconds, BOUND)
    try:
        own: frozenset[str] | None = await session.ask(
            name, own_macs, returns=frozenset[Mac], bound=bound
        )
    except HostError:
        own = None
    if own is not None and macs <= own:
        return None
    return SharedAddress(
        host=name, address=address, macs=tuple(sorted(macs)), own_known=own is not None
    )


def _not_asked(reading: AddressReading) -> Finding:
    count = len(reading.not_asked)
    which = reading.not_asked[0] if count == 1 else f"{count} addresses"
    return Finding(
        host=None,
        service="host",
        subject=SUBJECT,
        severity=Severity.UNKNOWN,
        evidence=f"who answers for {which} could not be asked: {reading.trouble}",
        remedy="run this as root on the hosts' network, or repair what kept the hosts from asking; "
        "with many hosts: more `host_seconds` under `bounds` in cloud.yaml",
    )


def judge(cloud: Cloud, shared: SharedAddress) -> Finding:
    """Return the failed finding for an address that two hosts answer for. Pure."""
    return Finding(
        host=shared.host,
        service="host",
        subject=SUBJECT,
        severity=Severity.FAILED,
        evidence=shared.evidence,
        remedy=remedy(cloud, shared.host) + _without(shared.seen_by),
    )


def remedy(cloud: Cloud, name: str) -> str:
    """Return what to do about a second host with the address of ``name``. Pure."""
    old = [fenced for fenced, host in cloud.fenced.items() if host.was == name]
    suspect = f" ({' or '.join(old)} was replaced by it, and its BMC may not tell the truth)"
    return (
        "find by the switch's table of MACs the port of the one that is not "
        f"{name}, and take its cable out{suspect if old else ''}; then: backstay check"
    )


def _without(seen_by: Sequence[str]) -> str:
    """Return how a host that asked, and may lie, is left out; empty where none did. Pure."""
    if not seen_by:
        return ""
    return (
        f"; or, where a host that says so ({', '.join(seen_by)}) is proved to be wrong: "
        + command("backstay", "check", "--without-witness", seen_by[0])
    )


def is_second_host(finding: Finding, fenced: Collection[str]) -> bool:
    """Return whether a finding says that there may be two hosts in one place. Pure.

    ``fenced`` are the names of cloud.yaml's fenced hosts.
    """
    if finding.severity is not Severity.FAILED:
        return False
    return finding.subject == SUBJECT or finding.host in fenced
