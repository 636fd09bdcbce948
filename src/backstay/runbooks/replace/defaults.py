"""What a replacement takes, where nobody says: the spare that is meant for it, the newest state."""

from datetime import datetime

from backstay.backup.choice import RestorePoint, choose
from backstay.backup.loss import stream_of
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.runbooks.restore.plan import RestoreOptions


def chosen(
    place: Place, host: str, *, now: datetime, backup: str = "", to: RestorePoint | None = None
) -> RestoreOptions:
    """Return what is restored: up to the last moment where there is a log to do so.

    ``backup`` names one, else it is the newest verified; ``to`` is a moment that somebody wants.
    It blocks. Raises BackupError where there is none, BackstayError where it is another host's.
    """
    if backup:
        found = place.catalogue.named(backup)
        if found.host != host:
            raise BackstayError(
                f"taking {backup} for {host}",
                came_back=f"it is of {found.host}",
                remedy=f"backstay backup list {host}",
            )
    else:
        found = choose(place.catalogue.backups(), host, to or RestorePoint(), now=now)
    if to is None:
        to = RestorePoint(latest=True) if stream_of(found, place.logs(host)) else RestorePoint()
    return RestoreOptions(backup=found, to=to)


def spare_for(cloud: Cloud, host: str) -> str:
    """Return the spare that is meant for a host, empty where there is none."""
    return next((one.name for one in cloud.with_role(Role.SPARE) if host in one.spare_for), "")
