"""Judge a host: what its services stand on, and what its own probes answered. Pure."""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import replace

from backstay.commands import command, quoted
from backstay.errors import BackstayError, HostUnreachable
from backstay.finding import Finding, Severity, bad
from backstay.health.judge_units import (
    NOTHING_KNOWN,
    Works,
    is_there,
    judge_unit,
    together,
    unknown_units,
)
from backstay.health.observation import FileSystem, HostObservation, MountTrouble, WrongMount
from backstay.health.remedy import filled, on, ssh
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.limits import Limits
from backstay.quantities import duration, size
from backstay.services.by_host import units_on
from backstay.services.declaration import HostProbe, Service, Unit
from backstay.transports.targets import SshTarget

HOST = "host"
Required = tuple[str, Unit]
Probes = tuple[str, HostProbe]
MOST_FINDINGS = 1000
"""Findings on one host: more is no host, but one that floods."""
MOST_FAILED_UNITS = 50
_BROKEN = (errno.EIO, 117)
"""Of Linux: an error of input or output; "structure needs cleaning"."""


def required(cloud: Cloud, host: Host, services: Iterable[Service]) -> tuple[Required, ...]:
    """Return the units that a host must run, each with its service's name."""
    return tuple((service.name, unit) for service, unit in units_on(cloud, host, services))


def judge_host(
    observed: HostObservation,
    target: SshTarget,
    *,
    units: Sequence[Required],
    probes: Iterable[Probes],
    brokers: Iterable[Probes] = (),
    others: Sequence[Required] = (),
    works: Works = NOTHING_KNOWN,
    limits: Limits,
) -> list[Finding]:
    """Judge all that one host answered. ``units`` and ``probes`` come with their service's name.

    What ``brokers`` answer is judged elsewhere; here only that it is not of its form. ``others``
    are units that are judged where the host has them, ``works`` is what is known to work.
    """
    probed = [(name, judge_probe(name, probe, observed, target)) for name, probe in probes]
    well = {name for name, found in probed if found} - {n for n, found in probed if bad(found)}
    works = replace(works, probes=works.probes | well)
    there = [(service, unit) for service, unit in others if is_there(unit, observed)]
    judged = [
        judge_unit(service, unit, observed, target, works) for service, unit in (*units, *there)
    ]
    findings = together([finding for finding in judged if finding is not None], target)
    if observed.units is None:
        findings.append(unknown_units([unit for _, unit in units], observed, target))
    for _, by_probe in probed:
        findings.extend(by_probe)
    for service, probe in brokers:
        if (asked := observed.probes.get(probe.name)) is not None and asked.odd:
            findings.extend(judge_probe(service, probe, observed, target))
    found = [
        _answers(observed, target),
        *findings,
        *judge_file_systems(observed, target, limits),
        *judge_mounts(observed, target),
        *_judge_memory(observed, target, limits),
        judge_clock(observed, target, limits),
        *_judge_failed_units(observed, target, {unit.name for _, unit in (*units, *there)}),
        *_judge_troubles(observed, target),
    ]
    if len(found) <= MOST_FINDINGS:
        return found
    evidence = f"its answer makes {len(found)} findings; those after the first are left out"
    flood = _finding(target, "answer", Severity.UNKNOWN, evidence, ssh(target))
    return [*found[: MOST_FINDINGS - 1], flood]


def unreachable(
    error: BackstayError, target: SshTarget, units: Sequence[Required], *, bmc_url: str | None
) -> Finding:
    """Return the one finding for a host that could not be asked, and for all that is on it."""
    names = ", ".join(unit.name for _, unit in units)
    unknown = f"; so nothing is known of {names}" if names else ""
    remedy = error.remedy
    # Anything else is a host that is there, or one that this machine could not ask.
    gone = isinstance(error, HostUnreachable) and not error.elsewhere
    if bmc_url is not None and gone:
        remedy = f"{remedy} (its BMC: {bmc_url})"
    return Finding(
        host=target.name,
        service=HOST,
        subject="host",
        severity=Severity.FAILED if gone else Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}{unknown}",
        remedy=remedy,
    )


def judge_probe(
    service: str, probe: HostProbe, observed: HostObservation, target: SshTarget
) -> list[Finding]:
    """Judge what a service's own question on the host brought."""
    asked = observed.probes.get(probe.name)
    if asked is None or (asked.trouble and not asked.late):
        trouble = asked.trouble if asked else "it was not asked"
        remedy = on(target, "python3 --version") if asked is None or not asked.odd else ssh(target)
        return [_finding(target, probe.name, Severity.UNKNOWN, trouble, remedy, service=service)]
    if asked.late:
        remedy = on(target, "systemctl --no-pager status")
        return [
            _finding(target, probe.name, Severity.FAILED, asked.trouble, remedy, service=service)
        ]
    try:
        verdicts = list(probe.judge(asked.value))
    except Exception as error:  # a mistake in one service's folder takes nothing else along
        evidence = f"its answer cannot be judged: {type(error).__name__}: {error}"
        return [
            _finding(target, probe.name, Severity.UNKNOWN, evidence, ssh(target), service=service)
        ]
    return [
        Finding(
            host=target.name,
            service=service,
            subject=verdict.subject,
            severity=verdict.severity,
            evidence=verdict.evidence,
            remedy=filled(verdict.remedy, target),
            seconds=asked.seconds,
        )
        for verdict in verdicts
    ]


def judge_file_systems(
    observed: HostObservation, target: SshTarget, limits: Limits
) -> list[Finding]:
    """Judge space and inodes of every file system."""
    findings = []
    for system in observed.file_systems:
        findings.append(_judge_space(system, target, limits))
        if system.inodes:
            findings.append(_judge_inodes(system, target, limits))
    return findings


def _judge_space(system: FileSystem, target: SshTarget, limits: Limits) -> Finding:
    usable = system.used + system.available  # what is reserved for root does not count, as in df
    percent = 100 * system.used / usable if usable else 0.0
    severity = limits.disk_percent.severity(percent)
    evidence = f"{percent:.0f} % used, {size(system.available)} free of {size(system.size)}"
    find = f"du -xh --max-depth=2 {quoted(system.mount)} | sort -h | tail -n 20"
    return _finding(target, f"disk {system.mount}", severity, evidence, on(target, find))


def _judge_inodes(system: FileSystem, target: SshTarget, limits: Limits) -> Finding:
    percent = 100 * (1 - system.inodes_free / system.inodes)
    severity = limits.inode_percent.severity(percent)
    evidence = f"{percent:.0f} % used, {system.inodes_free} free of {system.inodes}"
    find = f"du -x --inodes --max-depth=3 {quoted(system.mount)} | sort -n | tail -n 20"
    return _finding(target, f"inodes {system.mount}", severity, evidence, on(target, find))


def judge_mounts(observed: HostObservation, target: SshTarget) -> list[Finding]:
    """Judge file systems that are not as they were mounted, or not as fstab wants them."""
    return [_judge_mount(one, target) for one in observed.wrong_mounts]


def _judge_mount(one: WrongMount, target: SshTarget) -> Finding:
    severity, place = Severity.FAILED, quoted(one.mount)
    log = "dmesg --level=err,warn --ctime | tail -n 20"
    match one.trouble:
        case MountTrouble.TURNED:
            evidence = f"{one.what} has turned read-only since it was mounted for writing: "
            evidence += "the kernel does that after an error of the disk"
        case MountTrouble.READ_ONLY:
            evidence = f"is mounted read-only; /etc/fstab wants {one.what} there for writing"
            log = f"findmnt {place}; {log}"
        case MountTrouble.MISSING:
            evidence = f"/etc/fstab wants {one.what} there, and nothing is mounted"
            log = f"mount {place}; {log}"
        case MountTrouble.ABSENT:
            severity = Severity.WARNING
            evidence = f"/etc/fstab wants {one.what} there if it can be had; nothing is mounted"
            log = f"mount {place}; {log}"
    return _finding(target, f"mount {one.mount}", severity, evidence, on(target, log))


def _judge_memory(observed: HostObservation, target: SshTarget, limits: Limits) -> list[Finding]:
    if observed.memory is None:
        return []
    total, available = observed.memory
    percent = 100 * available / total if total else 0.0
    severity = limits.memory_available_percent.severity(percent)
    evidence = f"{percent:.0f} % available, {size(available)} of {size(total)}"
    find = on(target, "ps -eo rss,pid,comm --sort=-rss | head -n 15")
    return [_finding(target, "memory", severity, evidence, find)]


def judge_clock(observed: HostObservation, target: SshTarget, limits: Limits) -> Finding:
    """Judge the clock against the operator's: only what is sure counts as an offset."""
    if observed.offset is None:
        remedy = on(target, "date -u")
        return _finding(target, "clock", Severity.UNKNOWN, "its time is not known", remedy)
    sure = max(0.0, abs(observed.offset) - observed.uncertainty)
    severity = limits.clock_offset_seconds.severity(sure)
    if severity is Severity.OK:
        evidence = f"within {abs(observed.offset) + observed.uncertainty:.2f} s of this machine's"
    else:
        direction = "ahead of" if observed.offset > 0 else "behind"
        evidence = f"{duration_exact(sure)} {direction} this machine's"
    return _finding(target, "clock", severity, evidence, on(target, "timedatectl timesync-status"))


def duration_exact(seconds: float) -> str:
    """Return a short duration with a decimal, a long one in words."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _judge_failed_units(
    observed: HostObservation, target: SshTarget, required: set[str]
) -> list[Finding]:
    """Report failed units that nothing requires; the required ones have their own finding."""
    if observed.failed_units is None:
        return []
    others = [
        name for name in observed.failed_units if name.removesuffix(".service") not in required
    ]
    if not others:
        return [_finding(target, "failed units", Severity.OK, "no others")]
    findings = []
    for name in others[:MOST_FAILED_UNITS]:
        look = f"{command('systemctl', 'status', name)}; "
        look = on(target, look + command("systemctl", "reset-failed", name))
        evidence = "failed; no service of this host's roles needs it"
        findings.append(_finding(target, f"failed unit {name}", Severity.WARNING, evidence, look))
    if len(others) > MOST_FAILED_UNITS:
        evidence = f"{len(others) - MOST_FAILED_UNITS} more have failed"
        list_them = on(target, "systemctl list-units --failed")
        findings.append(_finding(target, "failed units", Severity.WARNING, evidence, list_them))
    return findings


def _judge_troubles(observed: HostObservation, target: SshTarget) -> list[Finding]:
    """Report questions that brought nothing, but for the units, which have their own finding.

    A file system that cannot be read is broken: the kernel has shut it down after an error.
    """
    broken = {
        subject
        for subject, trouble in observed.troubles.items()
        if subject.startswith("disk ") and any(f"[Errno {code}]" in trouble for code in _BROKEN)
    }
    return [
        _finding(
            target,
            subject,
            Severity.FAILED if subject in broken else Severity.UNKNOWN,
            trouble,
            on(target, "dmesg --level=err,warn --ctime | tail -n 20"),
        )
        for subject, trouble in observed.troubles.items()
        if subject not in {"units", "failed units"}
    ]


def _answers(observed: HostObservation, target: SshTarget) -> Finding:
    word = "processor" if observed.processors == 1 else "processors"
    up = "an unknown time" if observed.uptime is None else duration(observed.uptime)
    load = "unknown" if observed.load is None else f"{observed.load:.1f}"
    processors = "unknown" if observed.processors is None else observed.processors
    evidence = f"answers, up for {up}, load {load} on {processors} {word}"
    return Finding(
        host=target.name,
        service=HOST,
        subject="host",
        severity=Severity.OK,
        evidence=evidence,
        seconds=observed.seconds,
    )


def _finding(
    target: SshTarget,
    subject: str,
    severity: Severity,
    evidence: str,
    remedy: str = "",
    *,
    service: str = HOST,
) -> Finding:
    return Finding(
        host=target.name,
        service=service,
        subject=subject,
        severity=severity,
        evidence=evidence,
        remedy="" if severity is Severity.OK else remedy,
    )
