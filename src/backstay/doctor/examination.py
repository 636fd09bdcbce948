"""The examination: what the commands need, read at the same time, judged, and by command."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backstay.access.session import CloudSession
from backstay.backup.mariadb import needs as database
from backstay.backup.mariadb.onhost_doctor import readiness
from backstay.commands import command, quoted
from backstay.doctor.judge_afar import judge_afar
from backstay.doctor.judge_here import judge_here, judge_units
from backstay.doctor.judge_hosts import judge_hosts, server_versions
from backstay.doctor.needs import NEEDS, Level, Topic
from backstay.doctor.point import Point, State, lacking, refused, there
from backstay.doctor.read_afar import read_afar, read_servers
from backstay.doctor.read_here import Own, Reading, read_here
from backstay.doctor.read_hosts import questions_of, read_hosts
from backstay.errors import BackstayError
from backstay.finding import Severity, worst
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.inventory.load import NoCloudFile

_EXAMPLE = (
    "name: example",
    "credentials: {openrc: /root/openrc}",
    "hosts:",
    "  controller: {address: 192.0.2.11, roles: [controller]}",
    "  compute1: {address: 192.0.2.21, roles: [compute]}",
)


def example(place: Path) -> str:
    """Return the command that writes a cloud.yaml to begin with. Pure."""
    return command("printf", r"%s\n", *_EXAMPLE) + f" >{quoted(str(place))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All points, and what each command needs. ``cloud`` is None where no cloud.yaml can be read.

    ``needs`` are by command; ``hosts`` those that were asked, by their names in cloud.yaml.
    """

    cloud: Cloud | None
    needs: Mapping[str, Mapping[Topic, Level]]
    points: Sequence[Point]
    hosts: Sequence[str] = ()

    @property
    def status(self) -> Severity:
        """Return the worst of all: needed and missing, unknown, optional and missing, or ok."""
        return worst([self.severity(point, self.needs) for point in self.points])

    def severity(self, point: Point, commands: Iterable[str]) -> Severity:
        """Return how bad a point is for these commands, of those that it concerns."""
        concerned = [name for name in commands if point.topic in self.needs[name]]
        found = [severity_of(point, self.level(point, name)) for name in concerned]
        return worst(found or [Severity.OK])

    def level(self, point: Point, name: str) -> Level:
        """Return how much a command depends on a point: only a replacement needs a spare."""
        host = self.cloud.hosts.get(point.host or "") if self.cloud else None
        if host is not None and set(host.roles) == {Role.SPARE} and name != "replace":
            return Level.OPTIONAL
        return self.needs[name][point.topic]

    def of_command(self, name: str, *, here: bool) -> list[Point]:
        """Return the points that concern a command: of this machine, or of the hosts."""
        return [
            point
            for point in self.points
            if point.topic in self.needs[name] and (point.host is None) is here
        ]

    def commands_of(self, point: Point) -> list[str]:
        """Return the commands that a point concerns, those first that cannot do without it."""
        mine = [name for name, topics in self.needs.items() if point.topic in topics]
        return sorted(mine, key=lambda name: self.level(point, name) is Level.OPTIONAL)


def severity_of(point: Point, level: Level) -> Severity:
    """Return how bad a point is for a command that depends on it so much. Pure."""
    if point.state is State.OK:
        return Severity.OK
    if point.optional or level is Level.OPTIONAL:
        return Severity.WARNING
    return Severity.FAILED if point.state is State.MISSING else Severity.UNKNOWN


def needs_of(commands: Iterable[str], cloud: Cloud | None) -> Mapping[str, Mapping[Topic, Level]]:
    """Return what each command needs in this cloud: a reboot may take a backup before. Pure."""
    found = {name: dict(NEEDS[name]) for name in commands}
    if "reboot" in found and cloud is not None and cloud.maintenance.backup:
        own = found["reboot"]
        merged = {**own, **NEEDS["backup"]}
        merged |= {topic: level for topic, level in own.items() if level is Level.NEEDED}
        found["reboot"] = merged
    return found


async def examine_here(error: BackstayError, commands: Sequence[str], own: Own) -> Report:
    """Examine this machine alone, where cloud.yaml cannot be read for ``error``."""
    needs = needs_of(commands, None)
    wanted = {topic for topics in needs.values() for topic in topics}
    reading, afar = await asyncio.gather(
        read_here(None, wanted, Own(code=own.code)), read_servers(wanted)
    )
    begin = example(error.place) if isinstance(error, NoCloudFile) else ""
    points = [refused(Topic.CLOUD_FILE, "cloud.yaml", error, command=begin)]
    points += judge_here(reading, None, wanted) + judge_afar(afar, None, wanted)
    return Report(cloud=None, needs=needs, points=_of(points, wanted))


async def examine(
    session: CloudSession, commands: Sequence[str], hosts: Sequence[str], own: Own
) -> Report:
    """Examine this machine and these hosts, all at the same time."""
    cloud = session.cloud
    needs = needs_of(commands, cloud)
    wanted = {topic for topics in needs.values() for topic in topics}
    asked = {Topic.LOGIN, Topic.PYTHON, Topic.ROOT} & wanted
    questions = {
        name: questions_of(cloud, session.host(name), session.services, wanted, readiness)
        for name in (hosts if asked else ())
    }
    reading, answers, afar = await asyncio.gather(
        read_here(cloud, wanted, own),
        read_hosts(session, questions),
        read_afar(session, wanted, hosts),
    )
    points = [there(Topic.CLOUD_FILE, "cloud.yaml", str(cloud.path))]
    points += judge_here(reading, cloud, wanted)
    points += judge_units(reading.here, cloud.path, own.units, wanted)
    points += _versions(reading, server_versions(answers))
    points += judge_afar(afar, cloud, wanted)
    points += judge_hosts(cloud, answers, wanted)
    return Report(cloud=cloud, needs=needs, points=_of(points, wanted), hosts=list(hosts))


def _versions(reading: Reading, servers: Mapping[str, str]) -> list[Point]:
    """Judge this machine's programs against the servers whose backups they read."""
    mine = reading.here.versions.get(database.VERSION_OF, "")
    lack = database.older_here(mine, servers)
    if lack is None:
        return []
    # A newer one reads backups, and makes no databases for an older server.
    topic = Topic.DATABASE_RELEASE if lack.optional else Topic.DATABASE_PROGRAMS
    return [lacking(topic, replace(lack, optional=False))]


def _of(points: Iterable[Point], wanted: Iterable[Topic]) -> list[Point]:
    topics = set(wanted)
    return [point for point in points if point.topic in topics]
