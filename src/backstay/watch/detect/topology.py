"""What stands on what: which host runs and serves which service. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.health.judge_host import required
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.enums import Role
from backstay.services.declaration import Service, Unit
from backstay.watch.detect.probe import Subject

HOST, AGENT = "host", "agent"
REACHABLE = "reachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A cloud as its causes are looked for.

    ``units`` are all that must run, by their subject's key. ``database``, ``broker`` and
    ``identity`` are names of services: what all others stand on; ``wired`` are those that reach
    agents through the broker.
    """

    cloud: Cloud
    services: Mapping[str, Service]
    units: Mapping[str, Unit]
    database: frozenset[str]
    broker: frozenset[str]
    identity: frozenset[str]
    wired: frozenset[str]

    def host(self, name: str) -> Host:
        """Return a host by its name."""
        return self.cloud.hosts[name]

    def units_of(self, host: str, service: str = "") -> list[Unit]:
        """Return the units that a host must run, or those of one service."""
        prefix = f"{host}/{service}/" if service else f"{host}/"
        return [unit for key, unit in self.units.items() if key.startswith(prefix)]

    def runs(self, host: str, services: frozenset[str]) -> bool:
        """Return whether a host runs any of these services."""
        return any(self.units_of(host, service) for service in services)

    def is_api(self, subject: Subject) -> bool:
        """Return whether a subject is an API's answer."""
        service = self.services.get(subject.service)
        return service is not None and any(p.name == subject.name for p in service.api_liveness)

    def carries_all(self, host: str) -> bool:
        """Return whether what all services stand on is on this host."""
        return self.runs(host, self.database | self.broker | self.identity)


def topology(cloud: Cloud, services: Sequence[Service]) -> Topology:
    """Return what the inventory and the declarations say."""
    units = {
        unit_subject(host.name, service, unit).key: unit
        for host in cloud.hosts.values()
        for service, unit in required(cloud, host, services)
    }
    return Topology(
        cloud=cloud,
        services={service.name: service for service in services},
        units=units,
        database=frozenset(s.name for s in services if s.keeps_databases),
        broker=frozenset(s.name for s in services if s.broker),
        identity=frozenset(s.name for s in services if any(p.first for p in s.api_probes)),
        wired=frozenset(s.name for s in services if s.rpc_endpoints),
    )


def unit_subject(host: str, service: str, unit: Unit) -> Subject:
    """Return the subject that a unit on a host is."""
    return Subject(host=host, service=service, name=unit.name)


def host_subject(host: str) -> Subject:
    """Return the subject that a host itself is."""
    return Subject(host=host, service=HOST, name=REACHABLE)


def watched_hosts(cloud: Cloud) -> list[Host]:
    """Return the hosts without which something is missing: all but those that stand by."""
    return [host for host in cloud.hosts.values() if set(host.roles) - {Role.SPARE}]
