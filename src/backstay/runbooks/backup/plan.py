"""The plan of backups. Pure."""

from collections.abc import Iterator, Sequence

from backstay.backup.prune import Removal
from backstay.backup.selection import selection
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan, Step
from backstay.runbooks.backup import steps
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
    found = [step for host in hosts for step in steps_of(cloud, host, services, verify=verify)]
    if prune:
        found.append(_pruning("remove backups and binary logs that `keep` does not hold"))
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=tuple(hosts), steps=tuple(found))


def steps_of(
    cloud: Cloud, host: str, services: Sequence[Service], *, verify: bool
) -> Iterator[Step]:
    """Yield the steps for one host."""
    chosen = selection(cloud, cloud.hosts[host], services)
    yield steps.REPOSITORY.step(
        host, "open the repository; forget parts of interrupted backups", _QUICK
    )
    yield steps.BRING.step(host, "fetch new and changed files", _LONG)
    if chosen.databases:
        form = "a dump" if cloud.backup.engine is Engine.DUMP else "a hot backup"
        yield steps.DATABASE.step(host, f"store {form} of its databases", _LONG)
    yield steps.FILES.step(host, "fetch what is new since then, and store all files", _LONG)
    yield steps.RECORD.step(host, "write the backup into the catalogue", _QUICK)
    if verify:
        yield verification(host, host)


def verification(host: str, backup: str) -> Step:
    """Return the step that proves a backup: that of this run (``backup`` is ``host``), or any."""
    return Step(
        id=steps.VERIFY.id(host),
        action=steps.VERIFY.name,
        target=host,
        does="prove it: read all data, restore into a scratch server, check the result",
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
    backups, logs = len(going.names()), len(going.logs)
    step = _pruning(
        f"remove {backups} backup{'s' * (backups != 1)} and {logs} binary log{'s' * (logs != 1)}",
        backups=[backup.name for backup in going.backups],
        logs=[str(file) for file in going.logs],
    )
    return Plan(runbook=RUNBOOK, cloud=cloud.name, targets=tuple(hosts), steps=(step,))


def _pruning(does: str, **named: list[str]) -> Step:
    name = steps.PRUNE.name
    return Step(id=name, action=name, target="", does=does, bound=_LONG, arguments=named)
