"""Findings on the backups of this machine: verified, young enough, streams that keep up."""

from collections.abc import Collection, Sequence

from backstay.backup.catalogue import Backup, Catalogue, State, folder_of, repository_of
from backstay.backup.mariadb.lag import lag_findings
from backstay.backup.mounts import missing_mount
from backstay.backup.repository import place_named
from backstay.backup.selection import usual_hosts
from backstay.commands import command
from backstay.errors import BackupError
from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud
from backstay.quantities import duration
from backstay.transports import namespaces
from backstay.transports.restic_output import local_path


def findings(cloud: Cloud, only: Collection[str], *, now: float) -> list[Finding]:
    """Judge the backups of a cloud, of the hosts ``only`` where any are named.

    ``now`` is this machine's clock (Unix). Only this machine's disk is read, and nothing of it
    where the site neither sets a limit nor has taken a backup.
    """
    catalogue = Catalogue(folder_of(cloud) / Catalogue.FOLDER)
    limit = cloud.backup.max_age
    try:
        backups, damaged = catalogue.readable()
    except BackupError as error:
        return [_unreadable([error])]
    usual = usual_hosts(cloud)
    others = [name for name in cloud.hosts if name not in usual]
    found = [
        *freshness_findings(backups, usual, limit=limit, now=now),
        *freshness_findings(backups, others, limit=None, now=now),
        *lag_findings(folder_of(cloud), limit=cloud.backup.stream_lag, now=now),
        *repository_findings(repository_of(cloud), backups),
        *([sandbox_finding()] if backups or limit is not None else []),
    ]
    return [
        *([_unreadable(damaged)] if damaged else []),
        *(finding for finding in found if not only or finding.host in only),
    ]


def _unreadable(errors: Sequence[BackupError]) -> Finding:
    error, others = errors[0], len(errors) - 1
    more = f"; and {others} more files" if others else ""
    return Finding(
        host=None,
        service=SERVICE,
        subject="catalogue",
        severity=Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}{more}",
        remedy=error.remedy,
    )


def repository_findings(repository: str, backups: Sequence[Backup]) -> list[Finding]:
    """Say where the disk is away that the newest backup was stored on; nothing else is asked."""
    here, path = place_named(repository), local_path(repository)
    stored = [one for one in backups if one.stored.mount and one.stored.place == here]
    newest = max(stored, key=lambda one: one.taken_at, default=None)
    away = missing_mount(path, newest.stored.mount) if newest is not None and path else ""
    if newest is None or not away:
        return []
    return [
        Finding(
            host=None,
            service=SERVICE,
            subject="repository",
            severity=Severity.WARNING,
            evidence=f"{away} is not mounted: backups as {newest.name} are on that disk, and none "
            "can be taken or restored",
            remedy=command("mount", away),
        )
    ]


def sandbox_finding() -> Finding:
    """Say whether programs that read data of hosts can be confined on this machine, and how."""
    try:
        evidence, remedy = f"programs that read data of hosts run as {namespaces.form()}", ""
    except BackupError as error:
        evidence, remedy = f"backups cannot be proved or restored here: {error}", error.remedy
    return Finding(
        host=None,
        service=SERVICE,
        subject="sandbox",
        severity=Severity.WARNING if remedy else Severity.OK,
        evidence=evidence,
        remedy=remedy,
    )


SERVICE = "backup"
SUBJECT = "verified backup"
_LONGEST = 200


def freshness_findings(
    backups: Sequence[Backup], hosts: Sequence[str], *, limit: float | None, now: float
) -> list[Finding]:
    """Judge the newest backups of each host; ``limit`` is how old a verified one may be, seconds.

    Never worse than a warning: what runs is not touched by it. Without a limit there is nothing to
    say but that the newest backup failed.
    """
    judged = (
        _judged(host, [one for one in backups if one.host == host], limit, now) for host in hosts
    )
    return [finding for finding in judged if finding is not None]


def _judged(
    host: str, backups: Sequence[Backup], limit: float | None, now: float
) -> Finding | None:
    newest = max(backups, key=lambda one: one.taken_at, default=None)
    verified = max(
        (one for one in backups if one.state is State.VERIFIED),
        key=lambda one: one.taken_at,
        default=None,
    )
    failed = newest is not None and newest.state is State.FAILED
    if limit is None and not failed:
        return None
    age = None if verified is None else now - verified.taken_at
    fresh = limit is None or (age is not None and age <= limit)
    evidence = "there is none"
    if verified is not None and age is not None:
        evidence = f"the newest is {duration(age)} old ({verified.name})"
    if not fresh and limit is not None:
        evidence += f"; `max_age` wants one of the last {duration(limit)}"
    if newest is not None and newest is not verified:
        evidence += f"; newer: {_unproved(newest, now)}"
    good = fresh and not failed
    return Finding(
        host=host,
        service=SERVICE,
        subject=SUBJECT,
        severity=Severity.OK if good else Severity.WARNING,
        evidence=evidence,
        remedy="" if good else _remedy(host, newest),
    )


def _unproved(backup: Backup, now: float) -> str:
    """Say how far a backup came that is not verified, and why no further."""
    named = f"{backup.name}, {duration(now - backup.taken_at)} old,"
    if backup.state is State.TAKEN:
        return f"{named} taken and not verified"
    problems = "; ".join(backup.proof.get("problems", ())) or "no reason recorded"
    return f"{named} failed: {problems[:_LONGEST]}"


def _remedy(host: str, newest: Backup | None) -> str:
    if newest is not None and newest.state is State.TAKEN:
        return f"backstay backup verify {newest.name}"
    take = f"backstay backup create {host} --verify"
    if newest is not None and newest.state is State.FAILED:
        return f"fix what is named, then: {take}"
    return f"{take}; every night: backstay backup schedule install"
