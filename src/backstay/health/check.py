"""THE check: what ``backstay check`` shows, gates ask, runbooks compare and the watch repeats.

Reading (``read_hosts``, ``read_apis``) comes first, all of it at the same time; judging
(``judge_host``, ``judge_units``, ``judge_api``, ``judge_agents``) is pure.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from backstay.access.session import CloudSession
from backstay.errors import ApiError, BackstayError, HostError
from backstay.finding import Finding, Severity
from backstay.health import addresses, certificates, clear_text, fenced
from backstay.health.judge_agents import Member, RpcTopology, judge_agents
from backstay.health.judge_api import Served, judge_answers, served_by
from backstay.health.judge_host import judge_host, unreachable
from backstay.health.judge_units import Works, is_there
from backstay.health.read_apis import ApiObservation, read_apis
from backstay.health.read_hosts import HostsRead, questions_of, read_hosts
from backstay.health.smoke_tests import run_smoke_tests
from backstay.inventory.cloud import Cloud
from backstay.services.by_host import other_units_on, units_on
from backstay.services.declaration import Service


async def check(
    session: CloudSession,
    hosts: Collection[str] | None = None,
    *,
    deep: bool = False,
    without_witnesses: Collection[str] = (),
) -> list[Finding]:
    """Check the whole cloud, or only ``hosts`` (names) and the APIs that they serve.

    Hosts, APIs, fenced hosts, addresses, and what the session's ``sources`` add (backups). ``deep``
    also makes real things and deletes them, and calls every agent through the broker.
    ``without_witnesses`` are not asked about the addresses of others, as they lie. Nothing that
    fails outside is raised or stops the rest: it becomes a finding.
    """
    chosen = None if hosts is None else set(hosts)
    parts = [
        check_hosts(session, hosts, deep=deep),
        *(source(session.cloud, chosen or set()) for source in session.sources),
    ]
    if chosen is None:
        parts.append(second_hosts(session, but_not=without_witnesses))
    if deep:
        parts.append(_call_agents(session, chosen))
    answers = await asyncio.gather(*map(_whatever_comes, parts))
    return [finding for found in answers for finding in found]


async def _whatever_comes(part: Awaitable[list[Finding]]) -> list[Finding]:
    """Return a part's findings; a mistake of ours in one part takes no other along."""
    try:
        return await part
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return [
            Finding(
                host=None,
                service="backstay",
                subject=f"error in {where}",
                severity=Severity.UNKNOWN,
                evidence=f"a part of the check ended with {type(error).__name__}: {error}",
                remedy="report this: it is a mistake in Backstay itself",
            )
        ]


async def second_hosts(session: CloudSession, *, but_not: Collection[str] = ()) -> list[Finding]:
    """Check that no host is there twice: fenced hosts are off, an address is one host's.

    ``but_not`` are hosts that are not asked by ARP about the others: they may be dead,
    or lie.
    """
    bound = min(session.cloud.bounds.host_seconds, fenced.BOUND)
    powers, shared = await asyncio.gather(
        fenced.findings(session.cloud.fenced, bound=bound),
        addresses.findings(session, but_not=but_not),
    )
    return powers + shared


async def check_units(session: CloudSession, host: str) -> list[Finding]:
    """Check what systemd and the kernel of one host report, and ask nothing that costs it more.

    A host that is just coming up has better things to do than to answer its services' probes.
    """
    return await check_hosts(session, [host], with_apis=False, probes=False)


async def check_hosts(
    session: CloudSession,
    hosts: Iterable[str] | None = None,
    *,
    with_apis: bool = True,
    probes: bool = True,
    deep: bool = False,
) -> list[Finding]:
    """Check hosts and, with ``with_apis``, the APIs that they serve; all of them for None.

    Without ``probes`` services are not asked on their hosts, only systemd is. ``deep`` also makes
    real things and deletes them, where there is a token.
    """
    cloud, api = session.cloud, session.api if with_apis else None
    chosen = set(cloud.hosts if hosts is None else hosts)
    declared = session.services
    asked = (
        declared
        if probes
        else [replace(s, host_probes=(), broker=None, report_times=None) for s in declared]
    )
    present = _in_this_cloud(cloud, declared)
    questions = [
        questions_of(cloud, cloud.hosts[name], asked) for name in cloud.hosts if name in chosen
    ]
    hosts_read, apis = await asyncio.gather(
        read_hosts(session, questions), _read_apis(session, present, asked=with_apis)
    )
    works = _works(hosts_read, apis, cloud)
    findings = [
        *_judge_hosts(hosts_read, cloud, works),
        *_judge_apis(hosts_read, apis, cloud, present, None if hosts is None else chosen),
        *clear_text.findings(cloud, chosen),
    ]
    if isinstance(api, BackstayError):
        return [*findings, _no_api(api)]
    if api is None:
        return findings
    if deep and not apis.not_asked:
        findings += await run_smoke_tests(api, {service.name for service in present})
    urls = [*(endpoint.url for endpoint in apis.endpoints), api.auth_url]
    return findings + await certificates.findings(urls, cloud, chosen, trust=api.trust)


async def _call_agents(session: CloudSession, hosts: Collection[str] | None) -> list[Finding]:
    """Call every agent by a message through the broker: the only proof that it processes any."""
    from backstay.health.rpc import agents  # noqa: PLC0415 - only for --deep

    try:
        _, judged = await agents.diagnose_agents(session, hosts)
    except ApiError as error:
        return [agents.not_called(error)]
    return agents.findings(judged)


def _in_this_cloud(cloud: Cloud, services: Iterable[Service]) -> list[Service]:
    """Leave out services none of whose roles any host has: a cloud without swift, say."""
    roles = {role for host in cloud.hosts.values() for role in host.roles}
    return [s for s in services if not s.units or roles & {unit.role for unit in s.units}]


async def _read_apis(
    session: CloudSession, services: Sequence[Service], *, asked: bool
) -> ApiObservation:
    if not asked or isinstance(session.api, BackstayError):
        return ApiObservation()
    return await read_apis(session.api, services, bound=session.cloud.bounds.api_seconds)


def _works(read: HostsRead, apis: ApiObservation, cloud: Cloud) -> Mapping[str, Works]:
    """Return what is seen to work of each host, by its name, without asking systemd."""
    answered = {answer.service for answer in apis.answers}
    failed = {
        answer.service
        for answer in apis.answers
        if answer.error or any(one.severity is Severity.FAILED for one in answer.verdicts)
    }
    names = cloud.host_names(
        {name: one.hostname for name in read.hosts if (one := read.observed(name))}
    )
    up: dict[str, set[str]] = {}
    for report in apis.reports:
        for agent in report.agents:
            if agent.up and (host := names.host_of(agent.host)):
                up.setdefault(host, set()).add(agent.binary)
    services = frozenset(answered - failed)
    return {
        name: Works(services=services, agents=frozenset(up.get(name, ()))) for name in read.hosts
    }


def _judge_hosts(read: HostsRead, cloud: Cloud, works: Mapping[str, Works]) -> list[Finding]:
    findings: list[Finding] = []
    for asked in read.questions:
        observed = read.hosts[asked.host.name]
        if isinstance(observed, HostError):
            bmc = asked.host.bmc.url if asked.host.bmc else None
            findings.append(unreachable(observed, asked.target, asked.units, bmc_url=bmc))
        else:
            findings += judge_host(
                observed,
                asked.target,
                units=asked.units,
                probes=asked.probes,
                brokers=asked.brokers,
                others=asked.others,
                works=works[asked.host.name],
                limits=cloud.limits,
            )
    return findings


def _judge_apis(
    hosts: HostsRead,
    apis: ApiObservation,
    cloud: Cloud,
    services: Sequence[Service],
    only: set[str] | None,
) -> list[Finding]:
    """Judge answers and agents; with ``only``, those that these hosts serve or run."""
    targets = [cloud.ssh_target(host) for host in cloud.hosts.values()]
    served = served_by(services, apis.endpoints, targets)
    findings = judge_answers(apis, services, served, cloud.limits)
    messaging = hosts.messaging(services)
    by_name = {service.name: service for service in services}
    for report in apis.reports:
        server = served.get(report.service)
        observed = hosts.observed(server.name) if server else None
        rpc_topology = RpcTopology(
            messaging=messaging,
            rpc_endpoint=by_name[report.service].rpc_endpoints,
            reconnect=cloud.maintenance.reconnect,
        )
        findings += judge_agents(
            report,
            _members(hosts, cloud, by_name[report.service]),
            rpc_topology,
            offset=(observed.offset or 0.0) if observed else 0.0,
            limits=cloud.limits,
        )
    if only is None:
        return findings
    return [finding for finding in findings if _concerns(finding, only, served)]


def _concerns(finding: Finding, only: set[str], served: Served) -> bool:
    """Return whether a finding is about one of the hosts; without a token it is about all."""
    no_token = not served and finding.severity is not Severity.OK
    return finding.host in only or no_token


def _members(read: HostsRead, cloud: Cloud, service: Service) -> list[Member]:
    """Return every host that agents may run on, with the units of one service."""
    members = []
    for host in cloud.hosts.values():
        observed = read.observed(host.name)
        hostname = observed.hostname if observed is not None else ""
        pairs = (*units_on(cloud, host, [service]), *other_units_on(cloud, host, [service]))
        units = tuple(
            unit
            for _, unit in pairs
            if not unit.if_found or (observed is not None and is_there(unit, observed))
        )
        target = cloud.ssh_target(host)
        times = read.report_times(host.name, service)
        members.append(
            Member(
                target=target,
                units=units,
                hostname=hostname,
                times=times,
                one_of=tuple(unit for _, unit in pairs if unit.one_of),
                serves_api=any(unit.ports for _, unit in pairs),
            )
        )
    return members


def _no_api(error: BackstayError) -> Finding:
    return Finding(
        host=None,
        service="APIs",
        subject="credentials",
        severity=Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}; so no API was asked",
        remedy=error.remedy,
    )
