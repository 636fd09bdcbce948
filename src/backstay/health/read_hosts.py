"""Ask every host in one round trip: its units, its disks, the probes of its services."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from backstay.access.session import CloudSession
from backstay.access.shipping import source_of
from backstay.errors import HostError
from backstay.health import onhost
from backstay.health.judge_host import Probes, Required, required
from backstay.health.observation import HostObservation, parse
from backstay.inventory.cloud import Cloud, Host
from backstay.services.by_host import other_units_on
from backstay.services.declaration import HostProbe, Service, Unit
from backstay.services.messaging import Messaging
from backstay.services.reporting import ReportTimes
from backstay.transports.targets import SshTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class HostQuestions:
    """What one host is asked.

    ``brokers`` and ``times`` are probes that are judged with the agents, ``others`` units that are
    judged where they are found.
    """

    host: Host
    target: SshTarget
    units: tuple[Required, ...]
    probes: tuple[Probes, ...]
    brokers: tuple[Probes, ...]
    times: tuple[Probes, ...] = ()
    others: tuple[Required, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsRead:
    """What the hosts answered, by name, or why one did not; and what each was asked."""

    questions: Sequence[HostQuestions]
    hosts: Mapping[str, HostObservation | HostError] = field(default_factory=dict)

    def observed(self, name: str) -> HostObservation | None:
        """Return what a host answered, None where it did not or was not asked."""
        found = self.hosts.get(name)
        return found if isinstance(found, HostObservation) else None

    def report_times(self, name: str, service: Service) -> ReportTimes | None:
        """Return what a host says of how a service's agents report, None where it does not."""
        observed = self.observed(name)
        if observed is None or service.report_times is None:
            return None
        asked = observed.probes.get(service.report_times.name)
        found = asked.value if asked is not None and not asked.trouble else None
        return found if isinstance(found, ReportTimes) else None

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
    probes = [probe for _, probe in (*asked.probes, *asked.brokers, *asked.times)]
    bound = session.cloud.bounds.host_seconds
    try:
        others = [unit for _, unit in asked.others]
        script = assemble(units, probes, others)
        answer = await session.shell.answer(asked.target, script, bound=bound)
        return parse(
            answer, unit_names(units), probes, host=asked.host.name, others=unit_names(others)
        )
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
            (service.name, service.broker.probe)
            for service in mine
            if service.broker and service.broker.role in host.roles
        ),
        times=tuple(
            (service.name, service.report_times)
            for service in mine
            if service.report_times and set(service.report_times.roles) & set(host.roles)
        ),
        others=tuple((s.name, unit) for s, unit in other_units_on(cloud, host, mine)),
    )


def assemble(
    units: Sequence[Unit], probes: Iterable[HostProbe], others: Sequence[Unit] = ()
) -> str:
    """Return a Python program for ``python3 -I -`` that prints the host's answers as JSON.

    ``others`` are units that need not be there. ``probes`` must have different names. What it
    prints is read by ``observation.parse``.
    """
    spec = {
        "units": unit_names(units),
        "others": unit_names(others),
        "probes": [
            (probe.name, probe.bound, _shipped(probe), probe.ask.__name__) for probe in probes
        ],
    }
    program = f"{_common()}\nSPEC = {json.dumps(json.dumps(spec))}\n"
    # The program holds its own text, so that another user's login can hand it on to sudo.
    return f"{program}main(json.loads(SPEC), {program + HANDED_ON!r})\n"


HANDED_ON = "main(json.loads(SPEC), '')\n"


def unit_names(units: Sequence[Unit]) -> list[str]:
    """Return the names that systemd is asked for, in order: units, and sockets that start them."""
    names = [name for unit in units for name in (unit.name, unit.socket) if name]
    return list(dict.fromkeys(names))


@cache
def _common() -> str:
    return source_of(onhost.main)


@cache
def _shipped(probe: HostProbe) -> str:
    return source_of(probe.ask)
