"""What ``check`` says of the backups that this machine keeps."""

from collections.abc import Collection

from backstay.backup.catalogue import Catalogue, folder_of
from backstay.backup.freshness import SERVICE, freshness_findings
from backstay.backup.mariadb.lag import lag_findings
from backstay.backup.selection import usual_hosts
from backstay.errors import BackupError
from backstay.finding import Finding, Severity
from backstay.inventory.cloud import Cloud


def findings(cloud: Cloud, only: Collection[str], *, now: float) -> list[Finding]:
    """Judge the backups of a cloud, of the hosts ``only`` where any are named.

    ``now`` is this machine's clock (Unix). Only this machine's disk is read, and nothing of it
    where the site neither sets a limit nor has taken a backup.
    """
    catalogue = Catalogue(folder_of(cloud) / Catalogue.FOLDER)
    limit = cloud.backup.max_age
    try:
        backups = catalogue.backups()
    except BackupError as error:
        return [_unreadable(error)]
    usual = usual_hosts(cloud)
    others = [name for name in cloud.hosts if name not in usual]
    found = [
        *freshness_findings(backups, usual, limit=limit, now=now),
        *freshness_findings(backups, others, limit=None, now=now),
        *lag_findings(folder_of(cloud), limit=cloud.backup.stream_lag, now=now),
    ]
    return [finding for finding in found if not only or finding.host in only]


def _unreadable(error: BackupError) -> Finding:
    return Finding(
        host=None,
        service=SERVICE,
        subject="catalogue",
        severity=Severity.UNKNOWN,
        evidence=f"{error.attempted}: {error.came_back}",
        remedy=error.remedy,
    )
