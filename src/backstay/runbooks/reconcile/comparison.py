"""What was read of records and hosts, and the mismatches that follow from it. Pure.

Each service compares by its own rules; what holds for all of them follows after that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backstay.finding import Finding, Severity, rank
from backstay.health.remedy import filled, ssh
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.services.reconciliation import Evidence, Kind, Mismatch, Reconciler


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A question without an answer: ``what`` was asked, of which ``host``, and why it is unknown.

    ``host`` is empty where the cloud as a whole was asked.
    """

    what: str
    host: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecords:
    """Everything that hosts told, before anybody judges it."""

    seen: Evidence
    missing: tuple[Missing, ...] = ()
    guards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileObservation:
    """What a look at records and reality found.

    ``guards`` are findings on settings that are dangerous while the two differ. ``notes`` are what
    is not compared in this cloud. ``compared`` is how many records were read, by query.
    """

    mismatches: tuple[Mismatch, ...]
    missing: tuple[Missing, ...] = ()
    guards: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    compared: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def safe(self) -> list[Mismatch]:
        """Return those that ``--apply`` heals."""
        return [one for one in self.mismatches if one.safe]


def kept_in_both(before: Iterable[Mismatch], after: Sequence[Mismatch]) -> list[Mismatch]:
    """Return those of a second look that the first had too: what was only on its way is left out.

    Pure. Records and guests are read within a moment, and yet not in the same: an instance that is
    built, moved or deleted in between is no mismatch.
    """
    known = {one.key for one in before}
    return [one for one in after if one.key in known]


def judge(kept: Sequence[Reconciler], told: HostRecords, cloud: Cloud) -> ReconcileObservation:
    """Return what differs, the dangerous first, each with commands for this cloud."""
    found: list[Mismatch] = []
    missing = list(told.missing)
    for one in kept:
        try:
            found += one.compare(told.seen)
        except (KeyError, ValueError, TypeError) as error:
            # A record that no rule was written for must not hide what the others see.
            missing.append(_unread(one.service, error))
    guards = guarded(kept, told, cloud)
    found += [_danger(one) for one in guards if one.severity is Severity.FAILED]
    order = sorted(found, key=lambda one: one.kind is not Kind.DANGER)
    return ReconcileObservation(
        mismatches=tuple(_filled(one, cloud) for one in _once_each(order)),
        missing=tuple(missing),
        guards=tuple(guards),
        notes=tuple(note for one in kept for note in one.notes(told.seen)),
        compared={name: len(rows) for name, rows in told.seen.rows.items()},
    )


def guarded(kept: Iterable[Reconciler], told: HostRecords, cloud: Cloud) -> list[Finding]:
    """Return a finding for each guard on each host; who did not answer is unknown."""
    found = []
    for one in kept:
        for guard in one.guards:
            name = guard.question.name
            for host, answer in told.guards.get(name, {}).items():
                verdict = guard.judge(answer)
                found.append(
                    Finding(
                        host=host,
                        service=one.service,
                        subject=verdict.subject,
                        severity=verdict.severity,
                        evidence=verdict.evidence,
                        remedy=filled(verdict.remedy, cloud.ssh_target(cloud.hosts[host])),
                    )
                )
            found += [
                _unasked(one.service, guard.question.name, host, told)
                for host in sorted(told.seen.silent.get(name, ()))
            ]
    return sorted(found, key=lambda finding: rank(finding.severity))


def _unasked(service: str, name: str, host: str, told: HostRecords) -> Finding:
    why = next((one for one in told.missing if one.host == host and name in one.what), None)
    return Finding(
        host=host,
        service=service,
        subject=name,
        severity=Severity.UNKNOWN,
        evidence=why.why if why else "it was not told",
        remedy=why.remedy if why else f"backstay check {host}",
    )


def _danger(finding: Finding) -> Mismatch:
    return Mismatch(
        service=finding.service,
        subject=finding.subject,
        kind=Kind.DANGER,
        host=finding.host or "",
        evidence=finding.evidence,
        proposal="set it so that nothing is destroyed while records and reality differ",
        command=finding.remedy,
    )


def _unread(service: str, error: Exception) -> Missing:
    return Missing(
        what=f"records of {service}",
        host="",
        why=f"a record is not as expected: {type(error).__name__}: {error}",
        remedy="report it with this line; the other services were compared",
    )


def _once_each(found: Iterable[Mismatch]) -> Iterator[Mismatch]:
    seen = set()
    for one in found:
        if one.key not in seen:
            seen.add(one.key)
            yield one


def _filled(one: Mismatch, cloud: Cloud) -> Mismatch:
    """Put this cloud's commands for reaching hosts into a mismatch's own."""
    command = one.command
    if one.host in cloud.hosts:
        command = filled(command, cloud.ssh_target(cloud.hosts[one.host]))
    controllers = cloud.with_role(Role.CONTROLLER)
    if controllers:
        command = command.replace("{controller}", ssh(cloud.ssh_target(controllers[0])))
    return replace(one, command=command)
