"""What a reboot cost, from the journal: phases, outages, and past runs for comparison. Pure."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from backstay.journal.action import StepKind
from backstay.journal.records import RunRecord, RunState, StepRecord, StepState
from backstay.journal.result import StepResult
from backstay.maintenance.outages import OutageSeries
from backstay.reports.timeline import OutageLine, Phase, outage_line_of
from backstay.runbooks.backup import steps as backup
from backstay.runbooks.reboot import steps as reboot
from backstay.runbooks.reboot.plan import RUNBOOK

R = TypeVar("R", bound=StepResult)

_PAST = 5
"""How many past runs are compared with."""
_PHASES = {kind.name: kind.phase for kind in (*backup.KINDS, *reboot.KINDS) if kind.phase}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """A reboot of one host.

    Attributes:
        host: its name in cloud.yaml.
        boot_before: the boot id before the reboot.
        boot_after: the one after it, empty while it is not back.
        cycled: whether it was power-cycled.
        away: seconds from the request to reboot until the other boot id was read.
        until_working: seconds from the request until everything worked, agents attached.
        past_until_working: the median of that in past runs.
        runs: how many past runs that is the median of.
        whole: whether one process recorded outages from before the reboot to the end.
        agents: how many agents answered a call, None where not all did.
        restarted: names of the agents that had to be restarted.
        attached: the broker's uptime in seconds when the last agent was attached, None where it
            was not the broker that was rebooted.
        phases: the phases, in order.
        lines: outages of each API and instance.

    """

    host: str
    boot_before: str
    boot_after: str
    cycled: bool
    away: float | None
    until_working: float | None
    past_until_working: float | None
    runs: int
    whole: bool
    agents: int | None
    restarted: tuple[str, ...]
    attached: float | None
    phases: tuple[Phase, ...]
    lines: tuple[OutageLine, ...]

    def document(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return asdict(self)


def reports(run: RunRecord, past: Sequence[RunRecord]) -> list[HostReport]:
    """Return a report for each host of ``run`` whose boot id was noted.

    ``past`` are other runs of this cloud, the newest first.
    """
    found = []
    for host in run.plan.targets:
        steps = _by_action(run, host)
        noted = _find(steps, reboot.NOTE)
        if noted is not None:
            earlier = [
                steps_of
                for other in past
                if other.id != run.id
                and other.made < run.made
                and other.plan.runbook == RUNBOOK
                and other.state is RunState.DONE
                and (steps_of := _by_action(other, host)).get(reboot.NOTE.name) is not None
            ]
            found.append(_report(host, noted.boot_id, steps, earlier[:_PAST]))
    return found


Steps = Mapping[str, StepRecord]


def _find(steps: Steps, kind: StepKind[R]) -> R | None:
    """Return a step's result, None while it is not done. Raises JournalError where unreadable."""
    record = steps.get(kind.name)
    if record is None or record.state is not StepState.DONE:
        return None
    return kind.result.from_json(record.result)


def _report(host: str, boot_before: str, steps: Steps, past: Sequence[Steps]) -> HostReport:
    down, up = _find(steps, reboot.DOWN), _find(steps, reboot.UP)
    agents, outages = _find(steps, reboot.AGENTS), _find(steps, reboot.REPORT)
    worked = [taken for taken in map(_until_working, past) if taken is not None]
    return HostReport(
        host=host,
        boot_before=boot_before,
        boot_after=up.boot_id if up else "",
        cycled=bool((up and up.cycled) or (down and down.cycled)),
        away=_between(steps[reboot.ASK.name].began, steps[reboot.UP.name].ended) if up else None,
        until_working=_until_working(steps),
        past_until_working=statistics.median(worked) if worked else None,
        runs=len(worked),
        whole=all(step.attempts <= 1 for step in steps.values()),
        agents=agents.proved if agents else None,
        restarted=agents.restarted if agents else (),
        attached=agents.since_broker if agents else None,
        phases=tuple(_phases(steps)),
        lines=tuple(_line(series, past) for series in (outages.recorded if outages else ())),
    )


def _line(series: OutageSeries, past: Sequence[Steps]) -> OutageLine:
    downs = [
        other.down
        for steps in past
        if (outages := _find(steps, reboot.REPORT)) is not None
        for other in outages.recorded
        if (other.kind, other.what) == (series.kind, series.what)
    ]
    return outage_line_of(series, statistics.median(downs) if downs else None)


def _phases(steps: Steps) -> Iterator[Phase]:
    """Yield the phases that were started; neighbours of one name are one phase."""
    name, begins, ends, state = "", 0.0, 0.0, StepState.WAITING
    for action, step in steps.items():
        if action not in _PHASES or step.began is None:
            continue
        if _PHASES[action] != name:
            if name:
                yield Phase(name=name, begins=begins, ends=ends, state=state)
            name, begins = _PHASES[action], step.began
        ends, state = step.ended or step.began, step.state
    if name:
        yield Phase(name=name, begins=begins, ends=ends, state=state)


def _until_working(steps: Steps) -> float | None:
    agents = steps[reboot.AGENTS.name]
    done = agents.state is StepState.DONE
    return _between(steps[reboot.ASK.name].began, agents.ended) if done else None


def _between(begins: float | None, ends: float | None) -> float | None:
    return None if begins is None or ends is None else ends - begins


def _by_action(run: RunRecord, host: str) -> dict[str, StepRecord]:
    return {record.id.removeprefix(f"{host}."): record for record in of_host(run, host)}


def durations(runs: Sequence[RunRecord], host: str) -> list[float]:
    """Return how long completed reboots of ``host`` took, in seconds, the newest first.

    Runs that were resumed are left out: they include the time until somebody resumed them.
    """
    found = []
    for run in runs:
        if run.plan.runbook != RUNBOOK or run.state is not RunState.DONE:
            continue
        steps = of_host(run, host)
        if steps and all(step.attempts == 1 for step in steps):
            times = [(step.began, step.ended) for step in steps]
            begins = [began for began, _ in times if began is not None]
            ends = [ended for _, ended in times if ended is not None]
            found.append(max(ends) - min(begins))
    return found


def of_host(run: RunRecord, host: str) -> list[StepRecord]:
    """Return a run's steps on one host."""
    return [
        record
        for step, record in zip(run.plan.steps, run.steps, strict=True)
        if step.target == host
    ]
