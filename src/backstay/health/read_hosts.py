"""Ask every host in one round trip: its units, its disks, the probes of its services."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backstay.access.observation import HostObservation, parse
from backstay.access.scripts import assemble, unit_names
from backstay.access.session import CloudSession
from backstay.errors import HostError
from backstay.health.judge_host import Probes, Required, required
from backstay.inventory.cloud import Cloud, Host
from backstay.services.declaration import HostProbe, Service
from backstay.services.messaging import Messaging
from backstay.transports.targets import SshTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class HostQuestions:
    """What one host is asked. ``brokers`` are probes that are judged with the agents."""

    host: Host
    target: SshTarget
    units: tuple[Required, ...]
    probes: tuple[Probes, ...]
    brokers: tuple[HostProbe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsRead:
    """What the hosts answered, by name, or why one did not; and what each was asked."""

    questions: Sequence[HostQuestions]
    hosts: Mapping[str, HostObservation | HostError] = field(default_factory=dict)

    def observed(self, name: str) -> HostObservation | None:
        """Return what a host answered, None where it did not or was not asked."""
        found = self.hosts.get(name)
        return found if isinstance(found, HostObservation) else None

    def messaging(self, services: Iterable[Service]) -> Messaging | None:
        """Return what the first broker that answered reports, None where none did."""
        for broker in (service.broker for service in services if service.broker):
            for name in self.hosts:
                observed = self.observed(name)
                asked = observed.probes.get(broker.probe.name) if observed else None
                if asked is not None and not asked.trouble:
                    return broker.read(asked.value)
        return None


async def read_hosts(session: CloudSession, questions: Sequence[HostQuestions]) -> HostsRead:
    """Ask all hosts at the same time. Errors are part of what comes back: nothing is raised."""
    answers = await asyncio.gather(*(_read(session, one) for one in questions))
    names = [asked.host.name for asked in questions]
    return HostsRead(questions=questions, hosts=dict(zip(names, answers, strict=True)))


async def _read(session: CloudSession, asked: HostQuestions) -> HostObservation | HostError:
    units = [unit for _, unit in asked.units]
    script = assemble(units, [*(probe for _, probe in asked.probes), *asked.brokers])
    bound = session.cloud.bounds.host_seconds
    try:
        answer = await session.shell.answer(asked.target, script, bound=bound)
        return parse(answer, unit_names(units), host=asked.host.name)
    except HostError as error:
        return error


def questions_of(cloud: Cloud, host: Host, services: Iterable[Service]) -> HostQuestions:
    """Return what a host is asked. Pure."""
    mine = [service for service in services if cloud.has_service(service.name, host)]
    return HostQuestions(
        host=host,
        target=cloud.ssh_target(host),
        units=required(cloud, host, mine),
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
