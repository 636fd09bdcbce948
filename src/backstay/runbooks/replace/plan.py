"""The plan of a replacement: proved dead, fenced, built, restored, checked. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.backup.choice import RestorePoint, choose
from backstay.backup.loss import stream_of
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.plan import Plan, Step
from backstay.runbooks.backup.plan import steps_of as backup_steps
from backstay.runbooks.replace.fence import CONFIRM_BOUND, FENCE_BOUND
from backstay.runbooks.restore.plan import RestoreOptions, has_databases, services_of
from backstay.services.declaration import Service

RUNBOOK = "replace"
_QUICK = 120.0
_STARTING = 600.0
_INSTALLING = 3700.0
_LONG = 2 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRequest:
    """What the operator chose: the ``spare``, what is restored, and who says that it is off.

    ``confirmed_fenced``: a person typed the host's name for it; it counts only where
    no BMC can be asked.
    """

    spare: str
    chosen: RestoreOptions
    confirmed_fenced: bool = False


def plan(cloud: Cloud, wish: ReplaceRequest, services: Sequence[Service], *, now: datetime) -> Plan:
    """Return the plan that builds the backup's host anew on the spare; both are locked."""
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
        },
    )


def _steps(cloud: Cloud, wish: ReplaceRequest, services: Sequence[Service]) -> Iterator[Step]:
    """Give the steps. Until `fence` nothing is changed; until `adopt` the spare is a spare."""
    host, spare, backup = wish.chosen.backup.host, wish.spare, wish.chosen.backup

    def step(action: str, does: str, bound: float, at: str = host) -> Step:
        return Step(id=f"{host}.{action}", action=action, target=at, does=does, bound=bound)

    def start(*names: str) -> Step:
        runs = "it runs" if len(names) == 1 else "they run"
        does = f"start {' and '.join(names)}, and see that {runs}"
        return Step(
            id=f"{host}.start-{'-'.join(names)}",
            action="start",
            target=host,
            does=does,
            bound=_STARTING,
            arguments={"services": list(names)},
        )

    mine = services_of(cloud, host, services, "")
    yield step("confirm", f"ask from several places whether {host} is dead", CONFIRM_BOUND, at="")
    yield step("prepare", f"see that {spare} can take its place", _QUICK, at="")
    yield step("fence", f"power {host} off, read it back, keep it off", FENCE_BOUND, at="")
    yield step("begin-packages", f"begin to install its packages on {spare}", _QUICK)
    yield step("fetch", "meanwhile bring the backup's files here from the repository", _LONG)
    if has_databases(backup, mine, ""):
        log = ", replay the log" if wish.chosen.to.replays else ""
        yield step("rebuild", f"make the databases in a scratch server here{log}", _LONG)
    yield step("packages", "wait for the packages; nothing of them starts", _INSTALLING)
    yield step("adopt", f"give {spare} the name, SSH keys and address of {host}", _QUICK)
    yield step("look", "see that it can take the backup: versions, room, programs", _QUICK)
    yield step("send", "send databases and files to it", _LONG)
    yield step("stop", "stop what its packages may have started", _STARTING)
    yield step("swap", "put what was restored in its place", _LONG)
    yield step("begin-build", "begin the site's configuration management; it is held", _QUICK)
    # Both would bring the broker's users into order: Backstay's is done before the other begins.
    before = [one.name for one in mine if one.keeps_databases or one.put_back]
    if before:
        yield start(*before)
    yield step("let-build", "let the configuration management change the host", _QUICK)
    for one in mine:
        if one.name not in before:
            yield start(one.name)
    yield step("build", "wait for the configuration management", _LONG)
    yield step("works", "see that it works", _STARTING)
    if Role.CONTROLLER in cloud.hosts[host].roles:
        yield step(
            "agents",
            "see every agent attached; restart those that do not come back",
            cloud.maintenance.agents,
        )
        yield step("reconcile", "compare the records with what really exists", _STARTING)
    yield step("tidy", "remove what was brought here; what was replaced is kept", _QUICK)
    yield from backup_steps(cloud, host, services, verify=True)
    yield step("take-over", f"write into cloud.yaml that {spare} is {host} now", _QUICK)


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
