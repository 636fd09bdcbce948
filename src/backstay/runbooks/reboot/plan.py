"""The plan of a reboot: which steps, in which order, each with its bound. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.maintenance import Hook
from backstay.journal.action import StepKind
from backstay.journal.plan import Plan, Step
from backstay.quantities import duration
from backstay.runbooks.backup import plan as backup
from backstay.runbooks.reboot import steps
from backstay.services.registry import all_services

RUNBOOK = "reboot"
_GATES = 90.0
_QUICK = 60.0
_SLACK = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootOptions:
    """What the operator chose.

    Attributes:
        closes: when the window closes, in Unix seconds; None without a window or in an emergency.
        window: the window's name.
        expected: how long one host is expected to take, in seconds.
        source: what ``expected`` is derived from.
        skip_gates: names of gates that are not asked.
        idle: for how many seconds to wait until no tasks are in flight.
        emergency: whether windows are ignored.

    """

    closes: float | None = None
    window: str = ""
    expected: float = 0.0
    source: str = ""
    skip_gates: tuple[str, ...] = ()
    idle: float = 0.0
    emergency: bool = False


def options_of(plan: Plan) -> RebootOptions:
    """Return the options that a plan was made with."""
    skipped = tuple(plan.settings["skip_gates"])
    return RebootOptions(**{**plan.settings, "skip_gates": skipped})


def plan(cloud: Cloud, hosts: Sequence[str], chosen: RebootOptions) -> Plan:
    """Return the plan for ``hosts``, one after another."""
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=tuple(hosts),
        steps=tuple(step for name in hosts for step in _steps(cloud, cloud.hosts[name], chosen)),
        settings=asdict(chosen) | {"skip_gates": list(chosen.skip_gates)},
    )


def _steps(cloud: Cloud, host: Host, chosen: RebootOptions) -> Iterator[Step]:
    """Yield the steps for one host: safety is raised first and lowered last."""
    name, times, hooks = host.name, cloud.maintenance, cloud.maintenance.hooks

    def step(kind: StepKind[Any], does: str, bound: float) -> Step:
        return kind.step(name, does, round(bound))

    def hook(kind: StepKind[Any], does: str, called: Sequence[Hook]) -> Iterator[Step]:
        if called:
            yield step(kind, does, sum(one.bound for one in called) + 10)

    yield step(steps.GATES, _gates_text(chosen), _GATES + chosen.idle)
    yield from hook(steps.BEFORE, "call the hooks that may refuse, or silence", hooks.before)
    if times.backup:
        yield from backup.steps_of(cloud, name, all_services(), verify=True)
    yield from hook(steps.BACKUP_HOOKS, "call the hooks that take a backup", hooks.backup)
    yield step(steps.NOTE, "note boot id, services and agents; record outages from now on", _QUICK)
    yield from hook(steps.DRAIN, "keep new work away from it", hooks.drain)
    yield step(steps.ASK, "ask its systemd for a clean reboot", _QUICK)
    cycle = times.power_cycle and host.bmc is not None
    rescue, extra = ("; else power-cycle it by its BMC", _QUICK) if cycle else ("", 0)
    yield step(
        steps.DOWN,
        f"wait until it is down, at most {duration(times.down)}{rescue}",
        times.down + extra + _SLACK,
    )
    yield step(
        steps.UP,
        f"wait until it is back with another boot id, at most {duration(times.up)}{rescue}",
        times.up * (2 if cycle else 1) + extra + _SLACK,
    )
    yield step(steps.UNITS, "wait until all required units are active", times.units)
    yield step(steps.FUNCTIONS, "wait until everything works as before", times.functions)
    yield step(
        steps.AGENTS,
        "wait until every agent answers a call; restart those that do not reattach",
        times.agents,
    )
    yield step(
        steps.SETTLE,
        f"wait until all checks have passed for {duration(times.settle)}",
        times.settle + times.functions,
    )
    yield from hook(steps.UNDRAIN, "let new work come to it again", hooks.undrain)
    yield step(steps.REPORT, "stop recording outages, and report them", _QUICK)
    yield from hook(steps.AFTER, "call the hooks that end the silence", hooks.after)


def _gates_text(chosen: RebootOptions) -> str:
    skipped = f" (skipped: {', '.join(chosen.skip_gates)})" if chosen.skip_gates else ""
    waits = f", waiting up to {duration(chosen.idle)} for idleness" if chosen.idle else ""
    return f"ask all gates whether it may be rebooted{skipped}{waits}"
