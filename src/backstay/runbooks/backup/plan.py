"""The plan of backups. Pure."""

from collections.abc import Iterator, Sequence

from backstay.backup.prune import Removal
from backstay.backup.selection import selection
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan, Step
from backstay.services.declaration import Service

RUNBOOK = "backup"
_QUICK = 300.0
_LONG = 2 * 3600.0


def plan(
    cloud: Cloud,
    hosts: Sequence[str],
    services: Sequence[Service],
    *,
    verify: bool,
    prune: bool = False,
) -> Plan:
    """Return the plan for backups of ``hosts``, one after another; ``prune`` when all are taken."""
    steps = [step for host in hosts for step in steps_of(cloud, host, services, verify=verify)]
    if prune:
        steps.append(_pruning("remove backups and binary logs that `keep` does not hold"))
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=tuple(hosts), steps=tuple(steps))


def steps_of(
    cloud: Cloud, host: str, services: Sequence[Service], *, verify: bool
) -> Iterator[Step]:
    """Give the steps for one host."""

    def step(action: str, does: str, bound: float) -> Step:
        return Step(id=f"{host}.{action}", action=action, target=host, does=does, bound=bound)

    chosen = selection(cloud, cloud.hosts[host], services)
    yield step("repository", "open the repository; forget what was left half-taken", _QUICK)
    yield step("bring", "bring its files here, what is new of them", _LONG)
    if chosen.databases:
        form = "a dump" if cloud.backup.engine is Engine.DUMP else "a hot backup"
        yield step("database", f"store {form} of its databases", _LONG)
    yield step("files", "bring what is new since then, and store all files", _LONG)
    yield step("record", "write the backup into the catalogue", _QUICK)
    if verify:
        yield verification(host, host)


def verification(host: str, backup: str) -> Step:
    """Return the step that proves a backup: the host's of this run, or one by its name."""
    return Step(
        id=f"{host}.verify",
        action="verify",
        target=host,
        does="prove it: read all data, restore into a scratch server, check what is there",
        bound=_LONG,
        arguments={"backup": backup if backup != host else ""},
    )


def verify_plan(cloud: Cloud, host: str, backup: str) -> Plan:
    """Return the plan for proving a backup that was taken before."""
    step = verification(host, backup)
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=(host,), steps=(step,))


def prune_plan(cloud: Cloud, going: Removal) -> Plan:
    """Return the plan for removing backups and binary logs that `keep` does not hold."""
    concerned = [*(backup.host for backup in going.backups), *going.followed]
    hosts = dict.fromkeys(host for host in concerned if host in cloud.hosts)
    backups, logs = len(going.backups), len(going.logs)
    step = _pruning(
        f"remove {backups} backup{'s' * (backups != 1)} and {logs} binary log{'s' * (logs != 1)}",
        backups=[backup.name for backup in going.backups],
        logs=[str(file) for file in going.logs],
    )
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=tuple(hosts), steps=(step,))


def _pruning(does: str, **named: list[str]) -> Step:
    return Step(id="prune", action="prune", target="", does=does, bound=_LONG, arguments=named)
