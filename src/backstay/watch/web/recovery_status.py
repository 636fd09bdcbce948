"""Backups, RPO and RTO as measured, and the next maintenance windows.

RPO is what would be lost with a host now, by its stream or its newest verified backup; RTO is how
long past replacements, restores and reboots took, from the journal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from backstay.backup.catalogue import Backup, Catalogue, State, folder_of
from backstay.backup.findings import findings as backup_findings
from backstay.backup.mariadb.logs import Logs
from backstay.backup.selection import usual_hosts
from backstay.errors import BackupError
from backstay.finding import Finding
from backstay.inventory.cloud import Cloud
from backstay.journal.records import RunRecord, RunState
from backstay.maintenance.windows import Opening, openings
from backstay.runbooks.reboot import plan as reboot
from backstay.runbooks.reboot import report as reboot_report
from backstay.runbooks.replace import plan as replace
from backstay.runbooks.replace import report as replace_report
from backstay.runbooks.restore import plan as restore

_OPENINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecoveryStatus:
    """Backups of a host. Times are Unix seconds.

    Attributes:
        host: Its name in cloud.yaml.
        verified_at: When its newest verified backup was taken.
        backup: The name of that backup.
        backups: The number of all its backups.
        stream_lag: Seconds of changes that its stream lacked when it was read; None if there is no
            stream, or it was never complete.
        restore_seconds: How long it took to restore the backup for its verification.

    """

    host: str
    verified_at: float | None = None
    backup: str = ""
    backups: int = 0
    stream_lag: float | None = None
    restore_seconds: float | None = None

    def age_at(self, now: float) -> float | None:
        """Return the age of the newest verified backup in seconds, None if there is none."""
        return None if self.verified_at is None else max(0.0, now - self.verified_at)

    def rpo_at(self, now: float) -> float | None:
        """Return the seconds of changes that would be lost with the host at ``now``, if known."""
        known = [seconds for seconds in (self.stream_lag, self.age_at(now)) if seconds is not None]
        return min(known, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The duration of the latest ``operation`` of a kind (``controller replaced``), in ``run``."""

    operation: str
    seconds: float
    run: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatus:
    """Status of all hosts; ``findings`` are those of ``check`` about backups and streams."""

    hosts: tuple[HostRecoveryStatus, ...] = ()
    findings: tuple[Finding, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    openings: tuple[Opening, ...] = ()
    error: str = ""


def read_recovery_status(cloud: Cloud, runs: Sequence[RunRecord], now: float) -> RecoveryStatus:
    """Read the files of this machine. Blocks; if they cannot be read, ``error`` says why."""
    folder, failure = folder_of(cloud), ""
    backups: list[Backup] = []
    try:
        backups = Catalogue(folder / Catalogue.FOLDER).backups()
    except BackupError as error:
        failure = f"{error}; {error.remedy}"
    names = {*usual_hosts(cloud), *(backup.host for backup in backups)}
    return RecoveryStatus(
        hosts=tuple(_host(folder, name, backups, now) for name in cloud.hosts if name in names),
        findings=tuple(backup_findings(cloud, (), now=now)),
        recoveries=tuple(recoveries(runs)),
        openings=tuple(next_openings(cloud, now)),
        error=failure,
    )


def _host(folder: Path, name: str, backups: Sequence[Backup], now: float) -> HostRecoveryStatus:
    mine = [backup for backup in backups if backup.host == name]
    verified = next((backup for backup in mine if backup.state is State.VERIFIED), None)
    return HostRecoveryStatus(
        host=name,
        verified_at=verified.taken_at if verified else None,
        backup=verified.name if verified else "",
        backups=len(mine),
        stream_lag=_stream_lag(folder / "logs" / name, now),
        restore_seconds=verified.proof.get("restore_seconds") if verified else None,
    )


def _stream_lag(folder: Path, now: float) -> float | None:
    try:
        state = Logs(folder).state() if folder.is_dir() else None
    except BackupError:
        return None  # reported as a finding
    return state.rpo(now) if state is not None else None


def recoveries(runs: Sequence[RunRecord]) -> Iterator[Recovery]:
    """Yield the newest completed run of each kind and host; ``runs`` are newest first. Pure."""
    seen: set[tuple[str, str]] = set()
    for run in runs:
        if run.state is not RunState.DONE:
            continue
        for host, seconds, operation in _durations(run):
            if (run.plan.runbook, host) not in seen:
                seen.add((run.plan.runbook, host))
                yield Recovery(
                    operation=operation, seconds=seconds, run=run.id, at=run.ended or run.made
                )


def _durations(run: RunRecord) -> Iterator[tuple[str, float, str]]:
    """Yield host, seconds and operation."""
    if run.plan.runbook == replace.RUNBOOK:
        for replaced in replace_report.reports(run):
            if replaced.until_working is not None:
                yield replaced.host, replaced.until_working, f"{replaced.host} replaced"
    elif run.plan.runbook == reboot.RUNBOOK:
        for rebooted in reboot_report.reports(run, ()):
            if rebooted.until_working is not None:
                yield rebooted.host, rebooted.until_working, f"{rebooted.host} rebooted"
    elif run.plan.runbook == restore.RUNBOOK and run.seconds is not None:
        host = ", ".join(run.plan.targets)
        yield host, run.seconds, f"{host} restored"


def next_openings(cloud: Cloud, now: float) -> list[Opening]:
    """Return the next openings of every maintenance window, including those open now."""
    at = datetime.fromtimestamp(now, UTC)
    found = [
        opening
        for name, window in cloud.windows.items()
        for opening in islice(openings(name, window, at), _OPENINGS)
    ]
    return sorted(found)
