"""The plan of what the watch wants to do, made from a look at how things are now."""

from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.access.session import CloudSession
from backstay.backup.place import Place
from backstay.errors import BackstayError
from backstay.health.check import check_units
from backstay.health.rpc.agents import diagnose_agents
from backstay.health.witness.judge import HostVerdict, Verdict, judge
from backstay.health.witness.observe import AskPower, Here, ask_here, ask_power, gather_evidence
from backstay.journal.plan import Plan
from backstay.runbooks import power_off
from backstay.runbooks.reattach.plan import plan as reattach_plan
from backstay.runbooks.replace.plan import ReplaceRequest, default_options, spare_for
from backstay.runbooks.replace.plan import plan as replace_plan
from backstay.runbooks.restart import failed_units
from backstay.runbooks.restart import plan as restart_plan
from backstay.services.by_host import services_on
from backstay.services.registry import all_services
from backstay.transports.threads import on_thread
from backstay.watch.act.guards import WatchAction
from backstay.watch.incidents.incident import Cause

BOUND = 120.0
"""Seconds for reading the backups."""


class NotNow(BackstayError):
    """Nothing is to be done: what was seen does not ask for it, or speaks against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """A plan, and in words what it does."""

    plan: Plan
    does: str


async def plan_of(
    act: WatchAction,
    site: CloudSession,
    cause: Cause,
    *,
    here: Here = ask_here,
    power: AskPower = ask_power,
) -> PlannedAction:
    """Return the plan of an act. Raises NotNow, and BackstayError where it cannot be made."""
    if act is WatchAction.RESTART:
        return await _restart(site, cause)
    if act is WatchAction.REATTACH:
        return await _reattach(site, cause)
    if act is WatchAction.POWER_OFF:
        does = f"cut the power of the fenced host {cause.host} by its BMC"
        return PlannedAction(plan=power_off.plan(site.cloud, cause.host), does=does)
    refuse_unless_dead(judge(await gather_evidence(site, cause.host, here=here, power=power)))
    return await _replace(site, cause)


async def _restart(site: CloudSession, cause: Cause) -> PlannedAction:
    for host in _hosts_of(site, cause):
        units = failed_units(await check_units(site, host), host, cause.service)
        if units:
            does = f"restart {', '.join(units)} on {host}"
            return PlannedAction(
                plan=restart_plan(site.cloud, host, cause.service, units), does=does
            )
    raise NotNow(
        f"planning a restart of {cause.service}",
        came_back="none of its units has failed: a restart would be a guess",
        remedy=cause.remedy,
    )


def _hosts_of(site: CloudSession, cause: Cause) -> list[str]:
    """Return the host of a cause, or those on which its service runs."""
    if cause.host:
        return [cause.host]
    return [
        host.name
        for host in site.cloud.hosts.values()
        for service in services_on(site.cloud, host, site.services)
        if service.name == cause.service
    ]


async def _reattach(site: CloudSession, cause: Cause) -> PlannedAction:
    _, judged = await diagnose_agents(site, [cause.host] if cause.host else None)
    made = reattach_plan(site.cloud, judged)
    if made is None:
        raise NotNow(
            "planning a reattachment",
            came_back="no agent there would benefit from a restart",
            remedy="backstay reattach --dry-run",
        )
    return PlannedAction(plan=made, does=f"reattach agents on {', '.join(made.targets)}")


async def _replace(site: CloudSession, cause: Cause) -> PlannedAction:
    host, spare = cause.host, spare_for(site.cloud, cause.host)
    if not spare:
        raise NotNow(
            f"planning a replacement of {host}",
            came_back="no spare is declared for it",
            remedy=f"name {host} in `spare_for` of a spare in {site.cloud.path}",
        )
    now = datetime.now(UTC)
    taken = await on_thread(lambda: default_options(Place(site.cloud), host, now=now), BOUND)
    made = replace_plan(
        site.cloud, ReplaceRequest(spare=spare, chosen=taken), all_services(), now=now
    )
    upto = " and the log of its database" if taken.to.replays else ""
    return PlannedAction(
        plan=made, does=f"rebuild {host} on {spare} from {taken.backup.name}{upto}"
    )


def refuse_unless_dead(judged: HostVerdict) -> None:
    """Raise NotNow unless the verdict of all witnesses is that the host is dead."""
    if judged.verdict is Verdict.DEAD:
        return
    words = "; ".join(f"{one.witness}: {one.summary}" for one in judged.statements)
    raise NotNow(
        f"confirming that {judged.suspect} is dead",
        came_back=f"{judged.verdict}: {judged.reason} ({words})"[:1500],
        remedy=judged.remedy,
    )
