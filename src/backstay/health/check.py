"""The whole check: observe hosts and APIs at the same time, then judge."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from backstay.access.observation import HostObservation, parse
from backstay.access.scripts import assemble, unit_names
from backstay.errors import BackstayError, HostError
from backstay.finding import Finding, Severity
from backstay.health import certificates
from backstay.health.judge_agents import Member, RpcTopology, judge_agents
from backstay.health.judge_api import judge_answers, served_by
from backstay.health.judge_host import Probes, Required, judge_host, required, unreachable
from backstay.health.read_apis import ApiObservation, observe
from backstay.health.smoke_tests import run as make_and_delete
from backstay.inventory.cloud import Cloud, Host
from backstay.services.declaration import Api, HostProbe, Service
from backstay.services.messaging import Messaging
from backstay.services.registry import all_services
from backstay.transports.targets import Answer, SshTarget


class Shell(Protocol):
    """What runs a script on a host (``transports.ssh.HostShell``)."""

    async def answer(self, target: SshTarget, script: str, *, bound: float) -> Answer:
        """Run ``script`` by the host's python3 and return what it prints. Raises HostError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Questions:
    """What one host is asked. ``brokers`` are probes that are judged with the agents."""

    host: Host
    target: SshTarget
    units: tuple[Required, ...]
    probes: tuple[Probes, ...]
    brokers: tuple[HostProbe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What was observed of the whole cloud: hosts by name, and the APIs."""

    questions: Sequence[_Questions]
    hosts: Mapping[str, HostObservation | HostError] = field(default_factory=dict)
    apis: ApiObservation = field(default_factory=ApiObservation)


async def run(
    cloud: Cloud,
    *,
    hosts: Iterable[str] | None = None,
    shell: Shell,
    api: Api | BackstayError | None,
    services: Sequence[Service] | None = None,
    deep: bool = False,
    probes: bool = True,
) -> list[Finding]:
    """Check the cloud, or only ``hosts`` (names) and the APIs that they serve.

    ``api`` is the APIs, or the error that kept them from being set up, or None where only hosts
    are to be asked. Without ``probes`` services are not asked on their hosts, only systemd is: a
    host that is just coming up has better things to do. ``deep`` also makes real things and deletes
    them, where there is a token. Nothing that fails outside stops the rest: it becomes a finding.
    """
    declared = [s for s in services or all_services() if cloud.has_service(s.name)]
    chosen = set(cloud.hosts if hosts is None else hosts)
    asked = (
        declared
        if probes
        else [replace(service, host_probes=(), broker=None) for service in declared]
    )
    questions = [
        _questions(cloud, host, asked) for name, host in cloud.hosts.items() if name in chosen
    ]
    present = _in_this_cloud(cloud, declared)
    observed, apis = await asyncio.gather(
        asyncio.gather(*(_observe(question, shell, cloud) for question in questions)),
        _observe_apis(api, present, cloud),
    )
    names = [asked.host.name for asked in questions]
    looked = _Looked(questions=questions, hosts=dict(zip(names, observed, strict=True)), apis=apis)
    findings = [
        *_judge_hosts(looked, cloud),
        *_judge_apis(looked, cloud, present, None if hosts is None else chosen),
    ]
    if isinstance(api, BackstayError):
        findings.append(_no_api(api))
    if deep and api is not None and not isinstance(api, BackstayError) and not apis.not_asked:
        findings += await make_and_delete(api, {service.name for service in present})
    return findings + await _certificates(api, looked, cloud, chosen)


def _in_this_cloud(cloud: Cloud, services: Iterable[Service]) -> list[Service]:
    """Leave out services none of whose roles any host has: a cloud without swift, say."""
    roles = {role for host in cloud.hosts.values() for role in host.roles}
    return [s for s in services if not s.units or roles & {unit.role for unit in s.units}]


def _questions(cloud: Cloud, host: Host, services: Iterable[Service]) -> _Questions:
    mine = [service for service in services if cloud.has_service(service.name, host)]
    return _Questions(
        host=host,
        target=cloud.ssh_target(host),
        units=required(cloud, host, services),
        probes=tuple(
            (service.name, probe)
            for service in mine
            for probe in service.host_probes
            if set(probe.roles) & set(host.roles)
        ),
        brokers=tuple(
            service.broker.probe
            for service in mine
            if service.broker and service.broker.role in host.roles
        ),
    )


async def _observe(asked: _Questions, shell: Shell, cloud: Cloud) -> HostObservation | HostError:
    units = [unit for _, unit in asked.units]
    script = assemble(units, [*(probe for _, probe in asked.probes), *asked.brokers])
    try:
        answer = await shell.answer(asked.target, script, bound=cloud.bounds.host_seconds)
        return parse(answer, unit_names(units), host=asked.host.name)
    except HostError as error:
        return error


async def _observe_apis(
    api: Api | BackstayError | None, services: Sequence[Service], cloud: Cloud
) -> ApiObservation:
    if api is None or isinstance(api, BackstayError):
        return ApiObservation()
    return await observe(api, services, bound=cloud.bounds.api_seconds)


def _judge_hosts(looked: _Looked, cloud: Cloud) -> list[Finding]:
    findings: list[Finding] = []
    for asked in looked.questions:
        observed = looked.hosts[asked.host.name]
        if isinstance(observed, HostError):
            bmc = asked.host.bmc.url if asked.host.bmc else None
            findings.append(unreachable(observed, asked.target, asked.units, bmc_url=bmc))
        else:
            findings += judge_host(
                observed,
                asked.target,
                units=asked.units,
                probes=asked.probes,
                limits=cloud.limits,
            )
    return findings


def _judge_apis(
    looked: _Looked, cloud: Cloud, services: Sequence[Service], only: set[str] | None
) -> list[Finding]:
    """Judge answers and agents; with ``only``, those that these hosts serve or run."""
    targets = [cloud.ssh_target(host) for host in cloud.hosts.values()]
    served = served_by(services, looked.apis.endpoints, targets)
    by_name = {service.name: service for service in services}
    findings = judge_answers(looked.apis, services, served, cloud.limits)
    messaging = _messaging(looked, services)
    for report in looked.apis.reports:
        keeper = looked.hosts.get(served[report.service].name) if report.service in served else None
        offset = keeper.offset if isinstance(keeper, HostObservation) else 0.0
        members = _members(looked, cloud, by_name[report.service])
        rpc_topology = RpcTopology(
            messaging=messaging,
            rpc_endpoint=by_name[report.service].rpc_endpoint,
            reconnect=cloud.maintenance.reconnect,
        )
        findings += judge_agents(report, members, rpc_topology, offset=offset, limits=cloud.limits)
    if only is None:
        return findings
    return [finding for finding in findings if _concerns(finding, only, served)]


def _messaging(looked: _Looked, services: Sequence[Service]) -> Messaging | None:
    """Return what the first broker that was asked tells, None where none did."""
    for broker in (service.broker for service in services if service.broker):
        for observed in looked.hosts.values():
            if isinstance(observed, HostObservation):
                asked = observed.probes.get(broker.probe.name)
                if asked is not None and not asked.trouble:
                    return broker.read(asked.value)
    return None


def _concerns(finding: Finding, only: set[str], served: Mapping[str, SshTarget]) -> bool:
    """Say whether a finding is about one of the hosts; without a token it is about all."""
    no_token = not served and finding.severity is not Severity.OK
    return finding.host in only or no_token


def _members(looked: _Looked, cloud: Cloud, service: Service) -> list[Member]:
    """Return every host as agents name it, with the units of one service."""
    members = []
    for host in cloud.hosts.values():
        observed = looked.hosts.get(host.name)
        names = {host.name, host.address}
        if isinstance(observed, HostObservation):
            names |= {observed.hostname, observed.hostname.partition(".")[0]}
        units = tuple(unit for _, unit in _questions(cloud, host, [service]).units)
        members.append(Member(target=cloud.ssh_target(host), names=frozenset(names), units=units))
    return members


async def _certificates(
    api: Api | BackstayError | None, looked: _Looked, cloud: Cloud, chosen: set[str]
) -> list[Finding]:
    if api is None or isinstance(api, BackstayError):
        return []
    urls = [*(endpoint.url for endpoint in looked.apis.endpoints), api.auth_url]
    hosts = {host.address: host.name for host in cloud.hosts.values()}
    bound = cloud.bounds.connect_seconds
    found = await certificates.check(urls, hosts, cloud.limits, bound=bound, ca=api.ca)
    return [finding for finding in found if finding.host is None or finding.host in chosen]


def _no_api(error: BackstayError) -> Finding:
    return Finding(
        host=None,
        service="APIs",
        subject="credentials",
        severity=Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}; so no API was asked",
        remedy=error.remedy,
    )
