"""The action that the policy wants for a cause, and the guards that block it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from backstay.clock import Ages
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.inventory.watch import Policy
from backstay.journal.records import RunRecord, RunState
from backstay.runbooks import power_off
from backstay.runbooks.replace import plan as replace
from backstay.watch.incidents.incident import Cause, Incident, Kind

DAY = 86400.0
"""Attempts are counted this far back, in seconds."""
LAG = 1.0
"""Seconds by which this process may be late before it counts as in doubt itself."""
CUT_AGAIN = 30.0
"""Seconds after which the power of a fenced host may be cut again, at most."""
_MARK = "watch: "
_REPLACED = {Role.CONTROLLER, Role.STORAGE_PROXY}


class WatchAction(StrEnum):
    """What the watch may do."""

    RESTART = "restart"
    REATTACH = "reattach"
    POWER_OFF = "power-off"
    ASK = "ask"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the guards decide from. Times are Unix seconds.

    Attributes:
        now: the time.
        ages: how long ago a time was, by a clock that nobody sets.
        doubt: why this process may not lead, or does not observe enough; "" if there is no doubt.
        writable: whether the journal can be written.
        lag: seconds by which this process is late.
        incidents: the open incidents.
        runs: the newest runs of the cloud.
        alive: returns whether the process of a run may be alive.

    """

    now: float
    doubt: str
    writable: bool
    lag: float
    incidents: Sequence[Incident]
    runs: Sequence[RunRecord]
    alive: Callable[[RunRecord], bool] = field(default=lambda _: True)
    ages: Ages | None = None

    def age(self, at: float) -> float:
        """Return how many seconds ago a time was; 0 for one that is in the future."""
        return max(0.0, self.now - at) if self.ages is None else self.ages.of(at)


def reason_for(incident: Incident) -> str:
    """Return the reason that the journal records for a run of the watch."""
    return f"{_MARK}{incident.name}: {incident.cause.key}"


def is_ours(run: RunRecord) -> bool:
    """Return whether the watch has started a run."""
    return run.reason.startswith(_MARK)


def of_incident(run: RunRecord, incident: Incident) -> bool:
    """Return whether the watch has started a run for an incident."""
    return run.reason.startswith(f"{_MARK}{incident.name}: ")


def cool_down(runbook: str, policy: Policy) -> float:
    """Return for how many seconds after a run nothing is done again for the same reason.

    A fenced host that is switched on again is not left on for long.
    """
    return min(policy.cool_down, CUT_AGAIN) if runbook == power_off.RUNBOOK else policy.cool_down


def wanted(policy: Policy, cause: Cause, cloud: Cloud) -> WatchAction | None:
    """Return the action that the policy wants for a cause, None for notifications only."""
    if cause.kind is Kind.SERVICE_FAILED and policy.service_failed == "restart":
        return WatchAction.RESTART
    if cause.kind is Kind.AGENT_NOT_PROCESSING and policy.agent_not_processing == "reattach":
        return WatchAction.REATTACH
    if cause.kind is Kind.FENCED_HOST_ON and policy.fenced_host_on == "power-off":
        return WatchAction.POWER_OFF
    if policy.controller_dead == "notify":
        return None
    host = cloud.hosts.get(cause.host)
    gone = cause.kind in {Kind.HOST_DEAD, Kind.HOST_OFF, Kind.HOST_UNREACHABLE}
    if (
        gone and host and _REPLACED & set(host.roles)
    ) or cause.kind is Kind.MONITORING_HOST_ISOLATED:
        return WatchAction(policy.controller_dead)
    return None


def blocked_by(act: WatchAction, incident: Incident, policy: Policy, now: Situation) -> str:
    """Return why an action is blocked now, "" if it is not.

    The text stays the same while the reason does, so that it is recorded once.
    """
    return (
        _doubt(incident.cause, now)
        or (_busy(now) if act is not WatchAction.POWER_OFF else "")
        or _half_way(incident.cause, now)
        or _tried(act, incident.cause, policy, now)
        or (_rate_limited(act, policy, now) if act is not WatchAction.ASK else "")
    )


def _doubt(cause: Cause, now: Situation) -> str:
    if now.doubt:
        return f"in doubt: {now.doubt}"
    if not now.writable:
        return "the journal cannot be written: a run could not be resumed"
    if cause.kind is Kind.MONITORING_HOST_ISOLATED or any(
        one.cause.kind is Kind.MONITORING_HOST_ISOLATED for one in now.incidents
    ):
        return "in doubt: this monitoring host is isolated; hosts that others reach are alive"
    if cause.kind is Kind.HOST_UNREACHABLE:
        return f"{cause.host} is not known to be dead: {'; '.join(cause.evidence)[:400]}"
    if now.lag > LAG:
        return "in doubt: this process itself is late"
    return ""


def _busy(now: Situation) -> str:
    for run in now.runs:
        if run.state is RunState.RUNNING and now.alive(run):
            return f"{run.id} is running: never two actions at once"
    return ""


def _half_way(cause: Cause, now: Situation) -> str:
    for run in now.runs:
        stopped = run.state in {RunState.RUNNING, RunState.FAILED}
        half_way = not is_ours(run) or run.plan.runbook == replace.RUNBOOK
        if stopped and half_way and cause.host in run.plan.targets:
            return (
                f"{run.id} has stopped half-way on {cause.host}: backstay runs resume {run.id}, or "
                "abandon it"
            )
    return ""


def _tried(act: WatchAction, cause: Cause, policy: Policy, now: Situation) -> str:
    tried = [
        run.id
        for run in now.runs
        if is_ours(run)
        and run.reason.endswith(f": {cause.key}")
        and now.age(run.made) < DAY
        # A run that was not approved is no attempt; one that could not be started is.
        and (run.began is not None or act is not WatchAction.ASK)
        and run.state is not RunState.PLANNED
    ]
    if len(tried) < policy.attempts:
        return ""
    names = ", ".join(sorted(tried))
    return f"tried {len(tried)} times within a day ({names}): manual action is required"


def _rate_limited(act: WatchAction, policy: Policy, now: Situation) -> str:
    """Return why it is too early; power is cut whatever else has just ended."""
    cuts = act is WatchAction.POWER_OFF
    ended = [
        (now.age(run.ended), run.id)
        for run in now.runs
        if is_ours(run) and run.ended and (not cuts or run.plan.runbook == power_off.RUNBOOK)
    ]
    if not ended:
        return ""
    age, run = min(ended)
    pause = cool_down(power_off.RUNBOOK, policy) if cuts else policy.cool_down
    if age >= pause:
        return ""
    until = round(now.now + pause - age)
    return f"no action before {datetime.fromtimestamp(until):%H:%M:%S}: {run} has just ended"
