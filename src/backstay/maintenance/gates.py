"""The gates: questions that are asked before a host is taken down. Each returns its refusals."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.answers import Line
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity, bad
from backstay.health.addresses import is_second_host
from backstay.health.remedy import on
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.journal.engine import BESIDE_OTHERS
from backstay.journal.records import RunRecord, RunState
from backstay.maintenance.refusal import Refusal
from backstay.maintenance.timing import GATE as WINDOW
from backstay.maintenance.timing import describe_time
from backstay.quantities import duration
from backstay.services.declaration import InFlightTask

RUNS, HEALTHY, IN_FLIGHT, HOST = "runs", "healthy", "in-flight", "host"
BACKUP, QUORUM = "backup", "quorum"
_PAUSE = 2.0
_SHOWN = 5
_SHOWN_TASKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BootObstacles:
    """What would keep a host from coming back, as ``gates_onhost.boot_obstacles`` answers.

    ``packaging`` and ``half_done`` are empty where there is nothing; ``kernel`` are the files of
    the next boot that are missing.
    """

    packaging: Line
    half_done: Line
    kernel: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """What is about to be done, and what is known: ``host`` goes down in run ``run``.

    Attributes:
        now: Unix seconds.
        findings: of a whole check of just now.
        known: names of findings that were bad before an earlier host of the same run went down;
            None for the first host.
        on_host: what the host itself answered, None where it did not answer.
        in_flight: returns the tasks under way; ``idle`` is how many seconds their end is awaited.
        runs: this cloud's runs in the journal.
        progress: called with a line for the operator.
        backed_up: when the newest verified backup of the host was taken, in Unix seconds.
        closes: when the window closes, in Unix seconds; ``expected`` is how many seconds the hosts
            that are left are expected to take.

    """

    cloud: Cloud
    host: str
    run: str
    now: float
    findings: Sequence[Finding]
    known: frozenset[tuple[str | None, str, str]] | None
    on_host: BootObstacles | None
    in_flight: Callable[[], Awaitable[Sequence[InFlightTask]]]
    idle: float
    runs: Sequence[RunRecord]
    progress: Callable[[str], None]
    backed_up: float | None = None
    closes: float | None = None
    expected: float = 0.0


Gate = Callable[[GateInput], Sequence[Refusal]]


def runs(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where another run was interrupted: no process carries it out."""
    return [
        Refusal(
            gate=RUNS,
            reason=f"run {run.id} was interrupted: it was carried out by {run.holder}",
            remedy=f"resume it: backstay runs resume {run.id}; or give it up: "
            f"backstay runs abandon {run.id}",
        )
        for run in asked.runs
        if run.id != asked.run
        and run.state is RunState.RUNNING
        and run.plan.runbook not in BESIDE_OTHERS  # it may well be carried out just now
    ]


def window(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the hosts that are left would not be done when the window closes."""
    if asked.closes is None or asked.now + asked.expected <= asked.closes:
        return []
    closes = datetime.fromtimestamp(asked.closes, UTC)
    left = asked.closes - asked.now
    closing = f"closes in {duration(left)}" if left > 0 else f"closed {duration(-left)} ago"
    reason = (
        f"the window {closing}, at {describe_time(closes)}; {asked.host} is expected to take "
        f"{duration(asked.expected)}"
    )
    return [Refusal(gate=WINDOW, reason=reason, remedy="continue in the next window")]


def healthy(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the host itself, a controller or an API is not healthy.

    Of other hosts only what went wrong since the run's first host went down counts: a compute host
    that is down anyway does not keep the controller from its reboot. A second host in the place of
    any counts always (``second_hosts``).
    """
    second = [f for f in asked.findings if is_second_host(f, asked.cloud.fenced)]
    unhealthy = [finding for finding in bad(asked.findings) if finding not in second]
    if asked.known is not None:
        counts = [f for f in unhealthy if (f.host, f.service, f.subject) not in asked.known]
    else:
        near = {host.name for host in asked.cloud.with_role(Role.CONTROLLER)} | {asked.host, None}
        counts = [f for f in unhealthy if f.host in near]
    refusals = second_hosts(asked.findings, asked.cloud)
    if counts:
        shown = "; ".join(map(_describe, counts[:_SHOWN]))
        more = f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        remedy = f"backstay check; and if this is why you reboot: --skip-gate {HEALTHY}"
        reason = f"not healthy beforehand: {shown}{more}"
        refusals.append(Refusal(gate=HEALTHY, reason=reason, remedy=remedy))
    return refusals


def second_hosts(findings: Sequence[Finding], cloud: Cloud) -> list[Refusal]:
    """Refuse where there are two hosts in one place: a fenced host is on, or an address has two.

    Every runbook that changes the cloud asks this before its first step: what it sends to one host
    may reach the other.
    """
    return [
        Refusal(
            gate=HEALTHY,
            reason=_describe(finding),
            remedy=f"{finding.remedy}; or, if you know better: --skip-gate {HEALTHY}",
        )
        for finding in findings
        if is_second_host(finding, cloud.fenced)
    ]


def _describe(finding: Finding) -> str:
    return f"{finding.host or 'cloud'}: {finding.subject} ({finding.evidence})"


async def in_flight(asked: GateInput) -> Sequence[Refusal]:
    """Refuse while a controller's or compute host's services have tasks under way.

    Waits for ``asked.idle`` seconds until there are none.
    """
    if not {Role.CONTROLLER, Role.COMPUTE} & set(asked.cloud.hosts[asked.host].roles):
        return []
    until = time.monotonic() + asked.idle
    while True:
        try:
            tasks = await asked.in_flight()
        except BackstayError as error:
            return [
                Refusal(
                    gate=IN_FLIGHT,
                    reason=f"whether tasks are under way is not known: {error}",
                    remedy=f"{error.remedy}; or, if you know that there are none: "
                    f"--skip-gate {IN_FLIGHT}",
                )
            ]
        if not tasks:
            return []
        if time.monotonic() >= until:
            return [_tasks_under_way(tasks, asked.idle)]
        asked.progress(f"waiting until idle: {describe_tasks(tasks)}")
        await asyncio.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))


def describe_tasks(tasks: Sequence[InFlightTask]) -> str:
    """Return the tasks under way in a few words."""
    shown = ", ".join(f"{task.what} is {task.doing}" for task in tasks[:_SHOWN_TASKS])
    more = len(tasks) - _SHOWN_TASKS
    return f"{shown}, and {more} more" if more > 0 else shown


def _tasks_under_way(tasks: Sequence[InFlightTask], waited: float) -> Refusal:
    after = f" after {waited:g} s of waiting" if waited else ""
    return Refusal(
        gate=IN_FLIGHT,
        reason=f"tasks are under way{after}: {describe_tasks(tasks)}",
        remedy=f"wait for them: --wait-for-idle 10m; or, if one is stuck: --skip-gate {IN_FLIGHT}",
    )


def host(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where packages are half-installed, a disk is full or the kernel to boot is missing."""
    target = asked.cloud.ssh_target(asked.cloud.hosts[asked.host])
    answer = asked.on_host
    if answer is None:
        reason = "the host could not be asked about its packages and its kernel"
        remedy = f"backstay check {asked.host}; or, if it hangs and that is why you reboot it: "
        return [Refusal(gate=HOST, reason=reason, remedy=f"{remedy}--skip-gate {HOST}")]
    found = []
    if answer.packaging:
        reason = f"a package manager is at work: {answer.packaging}"
        remedy = on(target, "fuser -v /var/lib/dpkg/lock-frontend")
        found.append(Refusal(gate=HOST, reason=reason, remedy=f"wait for it; who: {remedy}"))
    if answer.half_done:
        reason = f"a package upgrade is half-done: {answer.half_done}"
        remedy = on(target, "dpkg --configure -a")
        found.append(Refusal(gate=HOST, reason=reason, remedy=remedy))
    if answer.kernel:
        reason = f"what it would boot is not there: {', '.join(answer.kernel[:6])}"
        remedy = on(target, "update-initramfs -u -k all && update-grub")
        found.append(Refusal(gate=HOST, reason=reason, remedy=remedy))
    return found + [_full(finding) for finding in asked.findings if _is_full(finding, asked.host)]


def _is_full(finding: Finding, name: str) -> bool:
    return (
        finding.host == name
        and finding.severity is Severity.FAILED
        and finding.subject.startswith(("disk ", "inodes "))
    )


def _full(finding: Finding) -> Refusal:
    reason = f"{finding.subject} is full: {finding.evidence}"
    return Refusal(gate=HOST, reason=reason, remedy=finding.remedy)


def backup(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where cloud.yaml requires a verified backup of a certain age, and there is none.

    A backup that is taken as a step of the reboot, or by a hook, stands for it.
    """
    maintenance = asked.cloud.maintenance
    limit = asked.cloud.backup.max_age
    if limit is None or maintenance.backup or maintenance.hooks.backup:
        return []
    required = f"`max_age` under `backup` requires one of the last {duration(limit)}"
    if asked.backed_up is None:
        reason = f"there is no verified backup of {asked.host}; {required}"
    elif asked.now - asked.backed_up > limit:
        age = duration(asked.now - asked.backed_up)
        reason = f"the newest verified backup is {age} old; {required}"
    else:
        return []
    remedy = f"backstay backup create {asked.host} --verify; or do without: --skip-gate {BACKUP}"
    return [Refusal(gate=BACKUP, reason=reason, remedy=remedy)]


def quorum(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the other controllers that are healthy are not more than half of all.

    What must hold is the state after: one of three may be down already if it is this one. A cloud
    with one controller has no quorum to lose.
    """
    controllers = [host.name for host in asked.cloud.with_role(Role.CONTROLLER)]
    if len(controllers) < 2 or asked.host not in controllers:
        return []
    unhealthy = {finding.host for finding in bad(asked.findings)}
    left = [name for name in controllers if name != asked.host and name not in unhealthy]
    if 2 * len(left) > len(controllers):
        return []
    reason = (
        f"without {asked.host} only {len(left)} of {len(controllers)} controllers would be "
        "healthy: no majority for the database and the message queue"
    )
    out = sorted(set(controllers) & (unhealthy - {asked.host}), key=str)
    remedy = f"first repair {', '.join(map(str, out))}" if out else "add a controller"
    return [Refusal(gate=QUORUM, reason=reason, remedy=f"{remedy}; or --skip-gate {QUORUM}")]


_PURE: dict[str, Gate] = {
    RUNS: runs,
    WINDOW: window,
    HEALTHY: healthy,
    HOST: host,
    BACKUP: backup,
    QUORUM: quorum,
}
GATES = (RUNS, WINDOW, HEALTHY, IN_FLIGHT, HOST, BACKUP, QUORUM)
"""The names of all gates, in the order of their refusals."""
MAY_BE_SKIPPED = tuple(name for name in GATES if name not in {RUNS, WINDOW})
"""An interrupted run is ended by resuming or abandoning it; windows are passed by --emergency."""


async def ask_all(asked: GateInput, skip_gates: Collection[str]) -> list[Refusal]:
    """Return every refusal, in the gates' order; gates in ``skip_gates`` are not asked."""
    waited = [] if IN_FLIGHT in skip_gates else await in_flight(asked)
    refusals: list[Refusal] = []
    for name in GATES:
        if name == IN_FLIGHT:
            refusals += waited
        elif name not in skip_gates:
            refusals += _PURE[name](asked)
    return refusals
