"""Look at a cloud with one host in mind."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from backstay.access.session import CloudSession
from backstay.access.shipping import source_of
from backstay.answers import Count, Line
from backstay.errors import ApiError, HostError
from backstay.finding import Severity
from backstay.health.check import check_hosts
from backstay.health.impact import onhost
from backstay.health.impact.judge import Connection, ImpactInput
from backstay.inventory.cloud import Host
from backstay.inventory.enums import Role
from backstay.services.by_host import units_on
from backstay.services.declaration import Autostart, Unit

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAnswer:
    """What ``onhost.about_host`` returns, as it arrives.

    ``connections`` are address and port of the other end and the program, None unknown.
    """

    connections: tuple[tuple[Line, Count, Line], ...] | None
    resumes: bool | None


async def observe_impact(site: CloudSession, name: str) -> ImpactInput:
    """Return what is seen. What does not answer is unknown, and nothing is raised for it."""
    host = site.host(name)
    away = Role.SPARE, Role.STORAGE
    others = [one for one in site.cloud.hosts.values() if not set(one.roles) <= set(away)]
    autostart = next((s.autostart for s in site.services if s.autostart), None)
    emulators = tuple(name for service in site.services for name in service.emulators)
    endpoints, workloads, agents, findings, answers = await asyncio.gather(
        _reported(site.catalogue()),
        _reported(site.workloads()),
        _reported(site.agents()),
        check_hosts(site, [name], with_apis=False),
        asyncio.gather(*(_describe(site, one, autostart) for one in others)),
    )
    known = () if isinstance(endpoints, ApiError) else endpoints
    at = [(one.service_type, one.host) for one in known]
    troubles = [one for one in (endpoints, workloads, agents) if isinstance(one, ApiError)]
    by_host = dict(zip((one.name for one in others), answers, strict=True))
    runs = {f.subject for f in findings if f.severity is not Severity.FAILED}
    silent = {one: str(why) for one, why in by_host.items() if isinstance(why, HostError)}
    own = by_host.get(name)
    return ImpactInput(
        host=name,
        address=host.address,
        hostname=name,
        endpoints=None
        if isinstance(endpoints, ApiError)
        else tuple(kind for kind, address in at if address == host.address),
        elsewhere=frozenset(kind for kind, address in at if address != host.address),
        units=tuple(unit for unit in _units(site, host) if f"unit {unit.name}" in runs),
        serving=tuple(u for service in site.services for u in service.units if u.serves),
        workloads=None if isinstance(workloads, ApiError) else workloads,
        agents=None if isinstance(agents, ApiError) else tuple(one for one in agents if one.up),
        trouble=str(troubles[0]) if troubles else "",
        connections={
            one.name: _connections(by_host[one.name], emulators)
            for one in others
            if one.name != name and Role.COMPUTE in one.roles
        },
        silent=silent,
        resumes=own.resumes if isinstance(own, HostAnswer) else None,
        autostart=autostart.setting if autostart else "",
    )


def _units(site: CloudSession, host: Host) -> list[Unit]:
    return [unit for _, unit in units_on(site.cloud, host, site.services)]


async def _describe(
    site: CloudSession, host: Host, autostart: Autostart | None
) -> HostAnswer | HostError:
    shipped = [source_of(autostart.ask), autostart.ask.__name__] if autostart else []
    try:
        return await site.ask(host.name, onhost.about_host, shipped, returns=HostAnswer)
    except HostError as error:
        return error


def _connections(
    answer: HostAnswer | HostError, emulators: tuple[str, ...]
) -> list[Connection] | None:
    if isinstance(answer, HostError) or answer.connections is None:
        return None
    return [
        Connection.of(address, port, program, emulators)
        for address, port, program in answer.connections
    ]


async def _reported(asked: Awaitable[Sequence[T]]) -> tuple[T, ...] | ApiError:
    try:
        return tuple(await asked)
    except ApiError as error:
        return error
