"""What past runs tell. Pure."""

from collections.abc import Sequence

from backstay.journal.records import RunRecord, RunState, StepRecord
from backstay.runbooks.reboot.plan import RUNBOOK


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
