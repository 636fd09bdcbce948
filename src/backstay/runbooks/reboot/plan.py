"""The plan of a reboot: which steps, in which order, each with its bound. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.maintenance import Hook
from backstay.journal.plan import Plan, Step
from backstay.quantities import duration
from backstay.runbooks.backup import plan as backup
from backstay.services.registry import all_services

RUNBOOK = "reboot"
_GATES = 90.0
_QUICK = 60.0
_SLACK = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootOptions:
    """What the operator chose. Times are Unix seconds.

    ``closes`` is when the window closes, None where there is none or in an emergency. ``expected``
    is how long one host is expected to take, in seconds; ``source`` says where that comes from.
    ``skip_gates`` are names of gates that are not asked; ``idle`` is for how many seconds the end
    of
    work under way is awaited.
    """

    closes: float | None = None
    window: str = ""
    expected: float = 0.0
    source: str = ""
    skip_gates: tuple[str, ...] = ()
    idle: float = 0.0
    emergency: bool = False


def plan(cloud: Cloud, hosts: Sequence[str], chosen: RebootOptions) -> Plan:
    """Return the plan for ``hosts``, one after another."""
    steps = [step for name in hosts for step in _steps(cloud, cloud.hosts[name], chosen)]
    return Plan(
        runbook=RUNBOOK,
        cloud=cloud.name,
        targets=tuple(hosts),
        steps=tuple(steps),
        settings=asdict(chosen) | {"skip_gates": list(chosen.skip_gates)},
    )


def _steps(cloud: Cloud, host: Host, chosen: RebootOptions) -> Iterator[Step]:
    """Give the steps for one host: safety is raised first and lowered last."""
    name, times, hooks = host.name, cloud.maintenance, cloud.maintenance.hooks

    def step(action: str, does: str, bound: float) -> Step:
        return Step(
            id=f"{name}.{action}", action=action, target=name, does=does, bound=round(bound)
        )

    def hook(action: str, does: str, called: Sequence[Hook]) -> Iterator[Step]:
        if called:
            yield step(action, does, sum(one.bound for one in called) + 10)

    yield step("gates", _gates_text(chosen), _GATES + chosen.idle)
    yield from hook("before", "call the hooks that may refuse, or silence", hooks.before)
    if times.backup:
        yield from backup.steps_of(cloud, name, all_services(), verify=True)
    yield from hook("backup", "call the hooks that take a backup", hooks.backup)
    yield step("note", "note its boot id and what runs; watch its APIs and the instances", _QUICK)
    yield from hook("drain", "keep new work away from it", hooks.drain)
    yield step("ask", "ask its system for a clean reboot", _QUICK)
    cycle = times.power_cycle and host.bmc is not None
    rescue = "; else power-cycle it by its BMC" if cycle else ""
    yield step(
        "down",
        f"see it go down within {duration(times.down)}{rescue}",
        times.down + (_QUICK if cycle else 0) + _SLACK,
    )
    yield step(
        "up",
        f"see it come back with another boot id within {duration(times.up)}{rescue}",
        times.up * (2 if cycle else 1) + (_QUICK if cycle else 0) + _SLACK,
    )
    yield step("units", "see every unit that must run run", times.units)
    yield step("functions", "see every function work as before", times.functions)
    yield step(
        "agents", "see every agent answer a call; restart those that do not reattach", times.agents
    )
    yield step(
        "settle",
        f"see everything stay well for {duration(times.settle)}",
        times.settle + times.functions,
    )
    yield from hook("undrain", "let new work come to it again", hooks.undrain)
    yield step("report", "end the watch: what was out, and for how long", _QUICK)
    yield from hook("after", "call the hooks that end the silence", hooks.after)


def _gates_text(chosen: RebootOptions) -> str:
    passed = f" (not asked: {', '.join(chosen.skip_gates)})" if chosen.skip_gates else ""
    waits = f", waiting up to {duration(chosen.idle)} for idleness" if chosen.idle else ""
    return f"ask all gates whether it may go down{passed}{waits}"
