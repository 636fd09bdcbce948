"""Look at a cloud with one host in mind."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from backstay.access.session import CloudSession
from backstay.access.shipping import source_of
from backstay.errors import ApiError, HostError
from backstay.finding import Severity
from backstay.health.check import check_hosts
from backstay.health.impact import onhost
from backstay.health.impact.judge import Connection, ImpactInput
from backstay.inventory.cloud import Host
from backstay.inventory.enums import Role
from backstay.services.by_host import units_on
from backstay.services.declaration import Agent, Autostart, Unit, Workload


async def observe_impact(site: CloudSession, name: str) -> ImpactInput:
    """Return what is seen. What does not answer is unknown, and nothing is raised for it."""
    host = site.host(name)
    away = Role.SPARE, Role.STORAGE
    others = [one for one in site.cloud.hosts.values() if not set(one.roles) <= set(away)]
    autostart = next((s.autostart for s in site.services if s.autostart), None)
    emulators = tuple(name for service in site.services for name in service.emulators)
    endpoints, workloads, agents, findings, answers = await asyncio.gather(
        site.endpoints(),
        _workloads(site),
        _agents(site),
        check_hosts(site, [name], with_apis=False),
        asyncio.gather(*(_describe(site, one, autostart) for one in others)),
    )
    at = [(one.service_type, urlsplit(one.url).hostname) for one in endpoints]
    by_host = dict(zip((one.name for one in others), answers, strict=True))
    runs = {f.subject for f in findings if f.severity is not Severity.FAILED}
    own = by_host.get(name)
    return ImpactInput(
        host=name,
        address=host.address,
        hostname=name,
        endpoints=tuple(kind for kind, address in at if address == host.address),
        elsewhere=frozenset(kind for kind, address in at if address != host.address),
        units=tuple(unit for unit in _units(site, host) if f"unit {unit.name}" in runs),
        serving=tuple(u for service in site.services for u in service.units if u.serves),
        workloads=workloads,
        agents=agents,
        connections={
            one.name: _connections(by_host[one.name], emulators)
            for one in others
            if one.name != name and Role.COMPUTE in one.roles
        },
        resumes=own["resumes"] if own else None,
        autostart=autostart.setting if autostart else "",
    )


def _units(site: CloudSession, host: Host) -> list[Unit]:
    return [unit for _, unit in units_on(site.cloud, host, site.services)]


async def _describe(
    site: CloudSession, host: Host, autostart: Autostart | None
) -> dict[str, Any] | None:
    shipped = [source_of(autostart.ask), autostart.ask.__name__] if autostart else []
    try:
        answers: dict[str, Any] = await site.ask(host.name, onhost.about_host, shipped)
    except HostError:
        return None
    return answers


def _connections(
    answers: dict[str, Any] | None, emulators: tuple[str, ...]
) -> list[Connection] | None:
    if answers is None or not isinstance(answers["connections"], list):
        return None
    return [
        Connection.of(address, port, program, emulators)
        for address, port, program in answers["connections"]
    ]


async def _workloads(site: CloudSession) -> tuple[Workload, ...] | None:
    try:
        return tuple(await site.workloads())
    except ApiError:
        return None


async def _agents(site: CloudSession) -> tuple[Agent, ...] | None:
    try:
        return tuple(agent for agent in await site.agents() if agent.up)
    except ApiError:
        return None
