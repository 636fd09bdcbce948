"""What a reboot cost, from the journal: phases, outages, and the last runs beside them. Pure."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backstay.journal.records import RunRecord, RunState, StepRecord, StepState
from backstay.maintenance.outages import OutageSeries
from backstay.reports.timeline import OutageLine, Phase, outage_line_of
from backstay.runbooks.reboot.plan import RUNBOOK

_PAST = 5
# Which steps belong to which phase of the timeline, in the words of its reader.
_BACKUP = ("repository", "bring", "database", "files", "record", "verify", "backup")
_PHASES = {
    "gates": "gates",
    "before": "hooks",
    **dict.fromkeys(_BACKUP, "backup"),
    "drain": "drain",
    "ask": "going down",
    "down": "going down",
    "up": "coming back",
    "units": "units",
    "functions": "functions",
    "agents": "agents",
    "settle": "settling",
    "undrain": "drain ended",
    "after": "hooks after",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """A reboot of one host.

    ``away`` is for how many seconds, from being asked until its other boot id was read, the host
    was going down and coming back; ``well`` from being asked until everything worked and its
    agents were attached. ``past_well`` is the median of ``well`` in the last runs. ``agents`` is
    how many agents were proved attached, None where they were not; ``restarted`` names those that
    had to be; ``attached`` is how many seconds after the broker answered the last was, None where
    it was not the broker that was away. ``whole`` tells whether the watch was kept up by one
    process from before the reboot to the end.
    """

    host: str
    boot_before: str
    boot_after: str
    cycled: bool
    away: float | None
    well: float | None
    past_well: float | None
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
        if "note" in steps and steps["note"].result:
            earlier = [
                steps_of
                for other in past
                if other.id != run.id
                and other.made < run.made
                and other.plan.runbook == RUNBOOK
                and other.state is RunState.DONE
                and (steps_of := _by_action(other, host)).get("note") is not None
            ]
            found.append(_report(host, steps, earlier[:_PAST]))
    return found


Steps = Mapping[str, StepRecord]


def _report(host: str, steps: Steps, past: Sequence[Steps]) -> HostReport:
    up = steps["up"].result
    watched = steps["report"].result.get("watched", [])
    well = [taken for taken in map(_well, past) if taken is not None]
    first = steps["ask"].began
    return HostReport(
        host=host,
        boot_before=str(steps["note"].result["boot_id"]),
        boot_after=str(up.get("boot_id", "")),
        cycled=bool(up.get("cycled") or steps["down"].result.get("cycled")),
        away=_between(first, steps["up"].ended) if up else None,
        well=_well(steps),
        past_well=statistics.median(well) if well else None,
        runs=len(well),
        whole=all(step.attempts <= 1 for step in steps.values()),
        agents=steps["agents"].result.get("proved"),
        restarted=tuple(steps["agents"].result.get("restarted", ())),
        attached=steps["agents"].result.get("since_broker"),
        phases=tuple(_phases(steps)),
        lines=tuple(_line(seen, past) for seen in watched),
    )


def _line(seen: Mapping[str, Any], past: Sequence[Steps]) -> OutageLine:
    downs = [
        other["down"]
        for steps in past
        for other in steps["report"].result.get("watched", [])
        if (other["kind"], other["what"]) == (seen["kind"], seen["what"])
    ]
    return outage_line_of(OutageSeries.from_json(seen), statistics.median(downs) if downs else None)


def _phases(steps: Steps) -> Iterator[Phase]:
    """Give the phases that were begun; neighbours of one name are one phase."""
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


def _well(steps: Steps) -> float | None:
    agents = steps["agents"]
    return _between(steps["ask"].began, agents.ended) if agents.state is StepState.DONE else None


def _between(begins: float | None, ends: float | None) -> float | None:
    return None if begins is None or ends is None else ends - begins


def _by_action(run: RunRecord, host: str) -> dict[str, StepRecord]:
    return {record.id.removeprefix(f"{host}."): record for record in of_host(run, host)}


def durations(runs: Sequence[RunRecord], host: str) -> list[float]:
    """Return how long reboots of ``host`` took that were done, the newest first, in seconds.

    Runs that were taken up again are left out: somebody was away between.
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
