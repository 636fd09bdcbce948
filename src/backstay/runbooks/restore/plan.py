"""The plan of a restore: made and proved here first, put in its place last. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from backstay.backup.catalogue import Backup, State
from backstay.backup.requirements import Task
from backstay.backup.restore_point import RestorePoint
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.plan import Plan, Step
from backstay.runbooks.restore.steps import (
    AGENTS,
    FETCH,
    LOOK,
    REBUILD,
    SEND,
    START,
    STOP,
    SWAP,
    TIDY,
    WORKS,
)
from backstay.services.by_host import services_on
from backstay.services.declaration import Service

RUNBOOK = "restore"
_QUICK = 120.0
_STARTING = 600.0
_LONG = 2 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What the operator chose: a backup, up to when, and one service's name or none for all."""

    backup: Backup
    to: RestorePoint
    service: str = ""


def plan(cloud: Cloud, chosen: RestoreOptions, services: Sequence[Service]) -> Plan:
    """Return the plan for putting a backup back on its host."""
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=(chosen.backup.host,),
        steps=tuple(_steps(cloud, chosen, services)),
        settings={
            "backup": chosen.backup.name,
            "to": chosen.to.document(),
            "service": chosen.service,
        },
    )


def services_of(
    cloud: Cloud, host: str, services: Sequence[Service], service: str
) -> list[Service]:
    """Return the services of a host that are restored, in the order in which they are started."""
    there = cloud.hosts[host]
    found = [one for one in services_on(cloud, there, services) if service in {"", one.name}]
    return sorted(found, key=lambda one: (one.restore_order, one.name))


def units_of(cloud: Cloud, host: str, services: Sequence[Service]) -> list[str]:
    """Return the units of services on a host, as systemd calls them."""
    roles = cloud.hosts[host].roles
    units = [unit.name for one in services for unit in one.units_on(roles, cloud.flavour)]
    return [name if "." in name else f"{name}.service" for name in dict.fromkeys(units)]


def has_databases(backup: Backup, services: Sequence[Service], service: str) -> bool:
    """Return whether databases are restored: those of one service, or the whole server's."""
    if not backup.facts:
        return False
    return not service or any(one.databases for one in services)


def straight(chosen: RestoreOptions) -> bool:
    """Return whether the databases may be made on the host itself, without a scratch server here.

    That is safe where these very bytes were verified in a scratch server, and nothing is added to
    them: restic returns what it was given, or an error.
    """
    backup = chosen.backup
    proved = backup.state is State.VERIFIED and backup.engine is Engine.PHYSICAL
    return proved and not chosen.service and not chosen.to.replays


def tasks_of(plan: Plan, chosen: RestoreOptions) -> list[Task]:
    """Return what this machine has to do with the backup in a plan that restores it."""
    actions = [step.action for step in plan.steps]
    here = REBUILD.name in actions
    if here and straight(chosen):
        # Who fetches before the host can be inspected makes the databases here all the same.
        here = LOOK.name not in actions[: actions.index(REBUILD.name)]
    return [Task.STORE, *([Task.SERVE] if here else [])]


def _steps(cloud: Cloud, chosen: RestoreOptions, services: Sequence[Service]) -> Iterator[Step]:
    """Give the steps; until `stop` nothing of what runs is touched."""
    host, one = chosen.backup.host, chosen.service
    mine = services_of(cloud, host, services, one)
    yield LOOK.step(host, "check that it can take the backup: versions, space, programs", _QUICK)
    yield FETCH.step(host, "fetch the backup's files from the repository to here", _LONG)
    if has_databases(chosen.backup, mine, one):
        does = f"make the databases in a scratch server here{_up_to(chosen)}, check them"
        if straight(chosen):
            does = "make the databases on the host, beside those in use; the backup was verified"
        yield REBUILD.step(host, does, _LONG)
    yield SEND.step(host, "send it all to the host, beside what is there", _LONG)
    yield STOP.step(host, f"stop {one or 'all services'}, and keep from starting", _STARTING)
    yield SWAP.step(host, "keep what is there, and put what was restored in its place", _LONG)
    for service in mine:
        yield start_step(host, service.name)
    yield WORKS.step(host, "wait until it works", _STARTING)
    if not one and Role.CONTROLLER in cloud.hosts[host].roles:
        yield agents_step(cloud, host)
    yield TIDY.step(host, "remove what was brought here; what was replaced is kept", _QUICK)


def start_step(host: str, *services: str) -> Step:
    """Return the step that starts services together."""
    run = "it runs" if len(services) == 1 else "they run"
    step = START.step(host, f"start {' and '.join(services)}, wait until {run}", _STARTING)
    names = "-".join(services)
    return replace(step, id=f"{step.id}-{names}", arguments={"services": list(services)})


def agents_step(cloud: Cloud, host: str) -> Step:
    """Return the step that waits for the cloud's agents."""
    does = "wait until every agent is attached; restart those that do not come back"
    return AGENTS.step(host, does, cloud.maintenance.agents)


def _up_to(chosen: RestoreOptions) -> str:
    if chosen.to.latest:
        return ", replay the log to its end"
    if chosen.to.at:
        return f", replay the log up to {chosen.to.at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    return ""
