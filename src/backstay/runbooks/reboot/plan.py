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
    yield steps.GATES.step(name, _gates_text(chosen), round(_GATES + chosen.idle))
    yield from _hook(name, steps.BEFORE, "call the hooks that may refuse, or silence", hooks.before)
    if times.backup:
        yield from backup.steps_of(cloud, name, all_services(), verify=True)
    yield from _hook(name, steps.BACKUP_HOOKS, "call the hooks that take a backup", hooks.backup)
    note = "note boot id, services and agents; record outages from now on"
    yield steps.NOTE.step(name, note, round(_QUICK))
    yield from _hook(name, steps.DRAIN, "keep new work away from it", hooks.drain)
    yield from _power_cycle(cloud, host)
    yield from _checks(cloud, name)
    yield from _hook(name, steps.UNDRAIN, "let new work come to it again", hooks.undrain)
    yield steps.REPORT.step(name, "stop recording outages, and report them", round(_QUICK))
    yield from _hook(name, steps.AFTER, "call the hooks that end the silence", hooks.after)


def _power_cycle(cloud: Cloud, host: Host) -> Iterator[Step]:
    """Yield the steps from the running boot to the next one."""
    name, times = host.name, cloud.maintenance
    cycle = times.power_cycle and host.bmc is not None
    rescue, extra = ("; else power-cycle it by its BMC", _QUICK) if cycle else ("", 0.0)
    yield steps.ASK.step(name, "ask its systemd for a clean reboot", round(_QUICK))
    yield steps.DOWN.step(
        name,
        f"wait until it is down, at most {duration(times.down)}{rescue}",
        round(times.down + extra + _SLACK),
    )
    yield steps.UP.step(
        name,
        f"wait until it is back with another boot id, at most {duration(times.up)}{rescue}",
        round(times.up * (2 if cycle else 1) + extra + _SLACK),
    )


def _checks(cloud: Cloud, name: str) -> Iterator[Step]:
    """Yield the steps that prove that everything works again, and stays so."""
    times = cloud.maintenance
    agents = "wait until every agent answers a call; restart those that do not reattach"
    settle = f"wait until all checks have passed for {duration(times.settle)}"
    for kind, does, bound in (
        (steps.UNITS, "wait until all required units are active", times.units),
        (steps.FUNCTIONS, "wait until everything works as before", times.functions),
        (steps.AGENTS, agents, times.agents),
        (steps.SETTLE, settle, times.settle + times.functions),
    ):
        yield kind.step(name, does, round(bound))


def _hook(name: str, kind: StepKind[Any], does: str, called: Sequence[Hook]) -> Iterator[Step]:
    if called:
        yield kind.step(name, does, round(sum(hook.bound for hook in called) + 10))


def _gates_text(chosen: RebootOptions) -> str:
    skipped = f" (skipped: {', '.join(chosen.skip_gates)})" if chosen.skip_gates else ""
    waits = f", waiting up to {duration(chosen.idle)} for idleness" if chosen.idle else ""
    return f"ask all gates whether it may be rebooted{skipped}{waits}"
