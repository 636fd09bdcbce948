"""What to do, from the points: what belongs together is one entry, also of several hosts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backstay.doctor.examination import Report
from backstay.doctor.point import Point, State
from backstay.finding import Severity, rank, worst
from backstay.health.remedy import on
from backstay.lacking import install


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """One thing to do.

    ``hosts`` are where, None among them is this machine. ``seen`` are what was looked at and what
    was found; ``remedy`` is words, ``lines`` are to be pasted: one for each host where they differ.
    """

    severity: Severity
    hosts: tuple[str | None, ...]
    commands: tuple[str, ...]
    seen: tuple[tuple[str, str], ...]
    remedy: str
    lines: tuple[str, ...]


def todos(report: Report) -> list[Todo]:
    """Return what is to be done, the worst first, this machine before the hosts."""
    bad = [point for point in report.points if point.state is not State.OK]
    single = [point for point in bad if not point.packages]
    found = [_one(report, point) for point in single]
    found += [_installing(report, host, points) for host, points in _by_host(bad).items()]
    found = [one for one in found if one.severity is not Severity.OK]
    return sorted(_together(found), key=lambda one: (rank(one.severity), one.hosts[0] is not None))


def _by_host(points: Iterable[Point]) -> Mapping[str | None, list[Point]]:
    """Return the points whose packages are installed by one command, by host."""
    found: dict[str | None, list[Point]] = {}
    for point in points:
        if point.packages:
            found.setdefault(point.host, []).append(point)
    return found


def _one(report: Report, point: Point) -> Todo:
    return Todo(
        severity=report.severity(point, report.needs),
        hosts=(point.host,),
        commands=tuple(report.commands_of(point)),
        seen=((point.what, point.evidence),),
        remedy=point.remedy,
        lines=(point.command,) if point.command else (),
    )


def _installing(report: Report, host: str | None, points: Sequence[Point]) -> Todo:
    """Return one entry for all packages that are missing in one place."""
    wanted = {package for point in points for package in point.packages}
    line = points[0].command
    if len(points) > 1:
        line = install(wanted)
        if host is not None and report.cloud is not None:
            line = on(report.cloud.ssh_target(report.cloud.hosts[host]), line)
        elif points[0].command.startswith("sudo "):
            line = f"sudo {line}"
    commands = dict.fromkeys(name for point in points for name in report.commands_of(point))
    seen: dict[str, list[str]] = {}
    for point in points:
        names = seen.setdefault(point.evidence, [])
        names += [point.what] if point.what not in names else []
    return Todo(
        severity=worst([report.severity(point, report.needs) for point in points]),
        hosts=(host,),
        commands=tuple(name for name in report.needs if name in commands),
        seen=tuple((", ".join(names), evidence) for evidence, names in seen.items()),
        remedy="; ".join(dict.fromkeys(point.remedy for point in points if point.remedy)),
        lines=(line,),
    )


def _together(found: Iterable[Todo]) -> list[Todo]:
    """Join what was seen alike on several hosts."""
    joined: dict[object, Todo] = {}
    for one in found:
        here = one.hosts == (None,)
        key = (here, one.severity, one.commands, one.seen, one.remedy, bool(one.lines))
        before = joined.get(key)
        if before is None or here:
            joined[(key, one.lines) if here else key] = one
            continue
        lines = tuple(dict.fromkeys((*before.lines, *one.lines)))
        joined[key] = replace(before, hosts=(*before.hosts, *one.hosts), lines=lines)
    return list(joined.values())
