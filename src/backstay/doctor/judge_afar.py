"""Judge what came of what was tried over the network. Pure."""

from collections.abc import Collection, Iterator, Mapping

from backstay.commands import command
from backstay.doctor.facts_afar import Afar, Tried
from backstay.doctor.needs import Topic
from backstay.doctor.point import Point, State, lacking, refused, there, unknown
from backstay.errors import ApiUnreachable
from backstay.finding import Severity
from backstay.health.judge_host import duration_exact
from backstay.inventory.cloud import Cloud
from backstay.lacking import Lack


def judge_afar(afar: Afar, cloud: Cloud | None, wanted: Collection[Topic]) -> list[Point]:
    """Return what is there, missing and unknown."""
    found = [*_servers(afar)]
    if cloud is not None:
        found += [*_api(afar), *_clocks(afar, cloud), *_bmcs(afar, cloud), *_channels(afar, cloud)]
    if afar.repository is not None:
        found.append(point_of(Topic.REPOSITORY, "repository", afar.repository))
    return [point for point in found if point.topic in wanted]


def point_of(
    topic: Topic, what: str, tried: Tried, *, host: str | None = None, remedy: str = ""
) -> Point:
    """Judge something that was tried: what did not answer is unknown."""
    if tried.late is not None:
        evidence = f"no answer within {tried.late:g} s"
        return unknown(topic, what, evidence, host=host, remedy=remedy)
    if tried.error is not None:
        return refused(topic, what, tried.error, host=host)
    return there(topic, what, tried.brought, host=host)


def _servers(afar: Afar) -> Iterator[Point]:
    if afar.journal is not None:
        yield point_of(Topic.JOURNAL, "journal", afar.journal)
    if afar.locks is not None:
        yield point_of(Topic.LOCKS, "locks", afar.locks)


def _api(afar: Afar) -> Iterator[Point]:
    if afar.api is None:
        return
    error = afar.api.error
    if isinstance(error, ApiUnreachable):  # whether the credentials are right is not known
        yield refused(Topic.API, "APIs", error, state=State.UNKNOWN)
    else:
        yield point_of(Topic.API, "APIs", afar.api)


def _clocks(afar: Afar, cloud: Cloud) -> Iterator[Point]:
    limit = cloud.limits.clock_offset_seconds
    for place, offset in afar.clocks.items():
        severity = limit.severity(abs(offset))
        if severity is Severity.OK:
            yield there(Topic.CLOCK, f"clock of {place}", "as this machine's")
            continue
        direction = "ahead of" if offset > 0 else "behind"
        yield lacking(
            Topic.CLOCK,
            Lack(
                what=f"clock of {place}",
                evidence=f"{duration_exact(abs(offset))} {direction} this machine's",
                remedy="let both follow a time server: timedatectl set-ntp true",
                optional=severity is Severity.WARNING,
            ),
        )


def _bmcs(afar: Afar, cloud: Cloud) -> Iterator[Point]:
    for name, tried in afar.bmcs.items():
        yield point_of(
            Topic.BMC, "BMC", tried, host=name, remedy="is `bmc` in cloud.yaml its address?"
        )
    for name in afar.no_bmc:
        yield lacking(
            Topic.BMC,
            Lack(
                what="BMC",
                evidence="it has none in cloud.yaml: a person must confirm that it is off before "
                "it is replaced",
                remedy=f"give it `bmc` in {cloud.path}: docs/replace.md",
                optional=True,
            ),
            host=name,
        )


def _channels(afar: Afar, cloud: Cloud) -> Iterator[Point]:
    if not cloud.watch.channels:
        yield lacking(
            Topic.CHANNELS,
            Lack(
                what="notifications",
                evidence="no channel is configured: nobody is notified",
                remedy=f"add one under `watch.channels` in {cloud.path}: docs/watch.md",
                optional=True,
            ),
        )
    channels: Mapping[str, Tried] = afar.channels
    for name, tried in channels.items():
        test = command("backstay", "watch", "test", name)
        yield point_of(Topic.CHANNELS, f"channel {name}", tried, remedy=test)
