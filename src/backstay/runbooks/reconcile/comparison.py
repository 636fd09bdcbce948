"""What was read of records and hosts, and the mismatches that follow from it. Pure.

Each service compares by its own rules; what holds for all of them follows after that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backstay.commands import CONTROLLER
from backstay.finding import Finding, Severity, rank
from backstay.health.remedy import filled, ssh
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.services.reconciliation import Evidence, Mismatch, MismatchKind, Reconciler


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A question without an answer.

    ``host`` is which host was asked, empty for the cloud as a whole; ``why`` is the reason.
    """

    what: str
    host: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecords:
    """All answers of the hosts, before they are compared."""

    seen: Evidence
    missing: tuple[Missing, ...] = ()
    guards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileObservation:
    """The result of comparing records with what really exists.

    Attributes:
        mismatches: what differs, the dangerous first.
        missing: questions without an answer.
        guards: findings on settings that are dangerous while the two differ.
        notes: what is not compared in this cloud.
        compared: how many records were read, by query.
        seconds: how long it took.

    """

    mismatches: tuple[Mismatch, ...]
    missing: tuple[Missing, ...] = ()
    guards: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    compared: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def safe(self) -> list[Mismatch]:
        """Return the mismatches that ``--apply`` repairs."""
        return [one for one in self.mismatches if one.safe]


def in_both(before: Iterable[Mismatch], after: Sequence[Mismatch]) -> list[Mismatch]:
    """Return the mismatches of a second comparison that the first had, too.

    Records and guests are read at nearly the same time, not at the same: an instance that is built,
    moved or deleted in between is no mismatch.
    """
    known = {one.key for one in before}
    return [one for one in after if one.key in known]


def judge(
    reconcilers: Sequence[Reconciler], records: HostRecords, cloud: Cloud
) -> ReconcileObservation:
    """Return what differs, the dangerous first, each with commands for this cloud."""
    found: list[Mismatch] = []
    missing = list(records.missing)
    for one in reconcilers:
        try:
            found += one.compare(records.seen)
        except (KeyError, ValueError, TypeError) as error:
            # A record that no rule was written for must not hide what the others see.
            missing.append(_unread(one.service, error))
    guards = guarded(reconcilers, records, cloud)
    found += [_danger(one) for one in guards if one.severity is Severity.FAILED]
    order = sorted(found, key=lambda one: one.kind is not MismatchKind.DANGER)
    return ReconcileObservation(
        mismatches=tuple(_filled(one, cloud) for one in _once_each(order)),
        missing=tuple(missing),
        guards=tuple(guards),
        notes=tuple(note for one in reconcilers for note in one.notes(records.seen)),
        compared={name: len(rows) for name, rows in records.seen.rows.items()},
    )


def guarded(reconcilers: Iterable[Reconciler], records: HostRecords, cloud: Cloud) -> list[Finding]:
    """Return a finding for each guard on each host; unknown for hosts that did not answer."""
    found = []
    for one in reconcilers:
        for guard in one.guards:
            name = guard.question.name
            for host, answer in records.guards.get(name, {}).items():
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
                _unasked(one.service, guard.question.name, host, records)
                for host in sorted(records.seen.silent.get(name, ()))
            ]
    return sorted(found, key=lambda finding: rank(finding.severity))


def _unasked(service: str, name: str, host: str, records: HostRecords) -> Finding:
    why = next((one for one in records.missing if one.host == host and name in one.what), None)
    return Finding(
        host=host,
        service=service,
        subject=name,
        severity=Severity.UNKNOWN,
        evidence=why.why if why else "no answer",
        remedy=why.remedy if why else f"backstay check {host}",
    )


def _danger(finding: Finding) -> Mismatch:
    return Mismatch(
        service=finding.service,
        subject=finding.subject,
        kind=MismatchKind.DANGER,
        host=finding.host or "",
        evidence=finding.evidence,
        proposal="change it, so that nothing is destroyed while records and reality differ",
        command=finding.remedy,
    )


def _unread(service: str, error: Exception) -> Missing:
    return Missing(
        what=f"records of {service}",
        host="",
        why=f"a record is not as expected: {type(error).__name__}: {error}",
        remedy="report this line; the other services were compared",
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
        command = command.replace(CONTROLLER, ssh(cloud.ssh_target(controllers[0])))
    return replace(one, command=command)
