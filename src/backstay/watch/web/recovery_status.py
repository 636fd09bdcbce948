"""What is kept of the cloud, and how quickly it came back when it had to: as measured.

RPO is what would be lost with a host now, by its stream or its newest proved backup; RTO is how
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
    """What is kept of a host. Times are Unix seconds.

    ``verified_at`` is when its newest proved backup was taken, ``backup`` that one's name; ``all``
    counts all that there are. ``stream`` is how many seconds of changes its stream lacked when
    it was looked at; None where it has none, or has never had everything. ``proved_in`` is how many
    seconds it took to restore the backup for its proof.
    """

    host: str
    verified_at: float | None = None
    backup: str = ""
    all: int = 0
    stream: float | None = None
    proved_in: float | None = None

    def rpo(self, now: float) -> float | None:
        """Return how many seconds of changes would be lost with the host now, if that is known."""
        age = None if self.verified_at is None else max(0.0, now - self.verified_at)
        return min((one for one in (self.stream, age) if one is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How long it took (``seconds``) until ``what`` was done, the last time: in ``run``."""

    what: str
    seconds: float
    run: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatus:
    """All of it; ``findings`` are what ``check`` says of backups and streams."""

    hosts: tuple[HostRecoveryStatus, ...] = ()
    findings: tuple[Finding, ...] = ()
    measured: tuple[Measured, ...] = ()
    openings: tuple[Opening, ...] = ()
    trouble: str = ""


def look(cloud: Cloud, runs: Sequence[RunRecord], now: float) -> RecoveryStatus:
    """Read the files of this machine. Blocks; where they cannot be read, ``trouble`` says why."""
    folder, trouble = folder_of(cloud), ""
    backups: list[Backup] = []
    try:
        backups = Catalogue(folder / Catalogue.FOLDER).backups()
    except BackupError as error:
        trouble = f"{error}; {error.remedy}"
    names = {*usual_hosts(cloud), *(one.host for one in backups)}
    return RecoveryStatus(
        hosts=tuple(_host(folder, name, backups, now) for name in cloud.hosts if name in names),
        findings=tuple(backup_findings(cloud, (), now=now)),
        measured=tuple(measured(runs)),
        openings=tuple(to_come(cloud, now)),
        trouble=trouble,
    )


def _host(folder: Path, name: str, backups: Sequence[Backup], now: float) -> HostRecoveryStatus:
    mine = [one for one in backups if one.host == name]
    proved = next((one for one in mine if one.state is State.VERIFIED), None)
    return HostRecoveryStatus(
        host=name,
        verified_at=proved.taken_at if proved else None,
        backup=proved.name if proved else "",
        all=len(mine),
        stream=_lacks(folder / "logs" / name, now),
        proved_in=proved.proof.get("restore_seconds") if proved else None,
    )


def _lacks(folder: Path, now: float) -> float | None:
    try:
        state = Logs(folder).state() if folder.is_dir() else None
    except BackupError:
        return None  # a finding says so
    return state.rpo(now) if state is not None else None


def measured(runs: Sequence[RunRecord]) -> Iterator[Measured]:
    """Give what the newest run of each kind took that was done; ``runs`` the newest first. Pure."""
    seen: set[tuple[str, str]] = set()
    for run in runs:
        if run.state is not RunState.DONE:
            continue
        for host, seconds, what in _took(run):
            if (run.plan.runbook, host) not in seen:
                seen.add((run.plan.runbook, host))
                yield Measured(what=what, seconds=seconds, run=run.id, at=run.ended or run.made)


def _took(run: RunRecord) -> Iterator[tuple[str, float, str]]:
    """Give host, seconds and what was done."""
    if run.plan.runbook == replace.RUNBOOK:
        for replaced in replace_report.reports(run):
            if replaced.well is not None:
                yield replaced.host, replaced.well, f"{replaced.host} replaced"
    elif run.plan.runbook == reboot.RUNBOOK:
        for rebooted in reboot_report.reports(run, ()):
            if rebooted.until_working is not None:
                yield rebooted.host, rebooted.until_working, f"{rebooted.host} rebooted"
    elif run.plan.runbook == restore.RUNBOOK and run.seconds is not None:
        host = ", ".join(run.plan.targets)
        yield host, run.seconds, f"{host} restored"


def to_come(cloud: Cloud, now: float) -> list[Opening]:
    """Return the next openings of every maintenance window, one that is open now with them."""
    at = datetime.fromtimestamp(now, UTC)
    found = [
        one
        for name, window in cloud.windows.items()
        for one in islice(openings(name, window, at), _OPENINGS)
    ]
    return sorted(found)
