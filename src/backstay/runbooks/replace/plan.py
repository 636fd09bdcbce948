"""The plan of a replacement: proved dead, fenced, built, restored, checked.

Pure, but for ``default_options``, which reads the catalogue of backups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.backup.place import Place
from backstay.backup.restore_point import RestorePoint, choose, stream_of
from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.plan import Plan, Step
from backstay.runbooks.backup.plan import steps_of as backup_steps
from backstay.runbooks.replace.confirm import CONFIRM_BOUND
from backstay.runbooks.replace.fence import FENCE_BOUND
from backstay.runbooks.replace.steps import (
    ADOPT,
    BEGIN_BUILD,
    BEGIN_PACKAGES,
    BUILD,
    CONFIRM,
    FENCE,
    LET_BUILD,
    PACKAGES,
    PREPARE,
    RECONCILE,
    TAKE_OVER,
    WITHOUT_WITNESSES,
)
from backstay.runbooks.restore.plan import (
    RestoreOptions,
    agents_step,
    has_databases,
    services_of,
    start_step,
)
from backstay.runbooks.restore.steps import FETCH, LOOK, REBUILD, SEND, STOP, SWAP, TIDY, WORKS
from backstay.services.declaration import Service

RUNBOOK = "replace"
_QUICK = 120.0
_STARTING = 600.0
_INSTALLING = 3700.0
_LONG = 2 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRequest:
    """What the operator chose: the ``spare``, what is restored, and whether it is surely off.

    ``confirmed_fenced``: a person typed the host's name for it; it counts only where no BMC can
    be asked. ``without_witnesses`` are hosts that are not asked about the host, as they lie.
    """

    spare: str
    chosen: RestoreOptions
    confirmed_fenced: bool = False
    without_witnesses: tuple[str, ...] = ()


def plan(cloud: Cloud, wish: ReplaceRequest, services: Sequence[Service], *, now: datetime) -> Plan:
    """Return the plan that rebuilds the backup's host on the spare; both are locked."""
    host = wish.chosen.backup.host
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=(host, wish.spare),
        steps=tuple(_steps(cloud, wish, services)),
        settings={
            "spare": wish.spare,
            "backup": wish.chosen.backup.name,
            "to": wish.chosen.to.document(),
            "service": "",
            "mark": f"{now:%Y%m%d-%H%M%S}",
            "confirmed_fenced": wish.confirmed_fenced,
            WITHOUT_WITNESSES: list(wish.without_witnesses),
        },
    )


def _steps(cloud: Cloud, wish: ReplaceRequest, services: Sequence[Service]) -> Iterator[Step]:
    """Give the steps. Until `fence` nothing is changed; until `adopt` the spare is a spare."""
    host, spare = wish.chosen.backup.host, wish.spare
    mine = services_of(cloud, host, services, "")
    yield from _fencing(host, spare, wish.without_witnesses)
    yield from _restoring(wish, mine)
    yield from _building(host, mine)
    yield WORKS.step(host, "wait until it works", _STARTING)
    if Role.CONTROLLER in cloud.hosts[host].roles:
        yield agents_step(cloud, host)
        yield RECONCILE.step(host, "compare the records with what really exists", _STARTING)
    yield TIDY.step(host, "remove what was brought here; what was replaced is kept", _QUICK)
    yield from backup_steps(cloud, host, services, verify=True)
    yield TAKE_OVER.step(host, f"write into cloud.yaml that {spare} is {host} now", _QUICK)


def _fencing(host: str, spare: str, without: Sequence[str]) -> Iterator[Step]:
    left_out = f"; left out as witnesses: {', '.join(without)}" if without else ""
    does = f"ask from several places whether {host} is dead{left_out}"
    yield CONFIRM.step(host, does, CONFIRM_BOUND, target="")
    yield PREPARE.step(host, f"check that {spare} can take its place", _QUICK, target="")
    does = f"power {host} off, read it back, keep it off{left_out}"
    yield FENCE.step(host, does, FENCE_BOUND, target="")


def _restoring(wish: ReplaceRequest, mine: Sequence[Service]) -> Iterator[Step]:
    """Give the steps until the backup is in its place; nothing of it runs yet."""
    host, spare, backup = wish.chosen.backup.host, wish.spare, wish.chosen.backup
    yield BEGIN_PACKAGES.step(host, f"start to install its packages on {spare}", _QUICK)
    yield FETCH.step(host, "meanwhile fetch the backup's files from the repository", _LONG)
    if has_databases(backup, mine, ""):
        log = ", replay the log" if wish.chosen.to.replays else ""
        yield REBUILD.step(host, f"make the databases in a scratch server here{log}", _LONG)
    yield PACKAGES.step(host, "wait for the packages; no unit of them starts", _INSTALLING)
    yield ADOPT.step(host, f"give {spare} the name, SSH keys and address of {host}", _QUICK)
    yield LOOK.step(host, "check that it can take the backup: versions, space, programs", _QUICK)
    yield SEND.step(host, "send databases and files to it", _LONG)
    yield STOP.step(host, "stop what its packages may have started", _STARTING)
    yield SWAP.step(host, "put what was restored in its place", _LONG)


def _building(host: str, mine: Sequence[Service]) -> Iterator[Step]:
    """Give the steps that start services and let the configuration management change the host.

    Both would set the broker's users: Backstay does so before the other starts.
    """
    yield BEGIN_BUILD.step(host, "start the site's configuration management; it is held", _QUICK)
    before = [one.name for one in mine if one.keeps_databases or one.put_back]
    if before:
        yield start_step(host, *before)
    yield LET_BUILD.step(host, "let the configuration management change the host", _QUICK)
    for one in mine:
        if one.name not in before:
            yield start_step(host, one.name)
    yield BUILD.step(host, "wait for the configuration management", _LONG)


def default_options(
    place: Place, host: str, *, now: datetime, backup: str = "", to: RestorePoint | None = None
) -> RestoreOptions:
    """Return what is restored: up to the last moment where there is a log to do so.

    ``backup`` is a backup's name, by default the newest verified one; ``to`` a moment to restore
    to. It blocks. Raises BackupError where there is none, BackstayError where it is another host's.
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


def host_blocker(cloud: Cloud, host: str) -> str:
    """Return why a host cannot be replaced, empty where it can."""
    if {Role.CONTROLLER, Role.STORAGE_PROXY} & set(cloud.hosts[host].roles):
        return ""
    return f"{host} is neither a controller nor a storage proxy: only these can be replaced"


def spare_blocker(cloud: Cloud, host: str, spare: str) -> str:
    """Return why a host of cloud.yaml is no spare for ``host``, empty where it is one."""
    if Role.SPARE not in cloud.hosts[spare].roles:
        names = ", ".join(one.name for one in cloud.with_role(Role.SPARE)) or "none"
        return f"{spare} is not a spare; spares of {cloud.path}: {names}"
    intended = cloud.hosts[spare].spare_for
    if intended and host not in intended:
        return f"{spare} is meant for {', '.join(intended)}: `spare_for` in {cloud.path}"
    return ""
