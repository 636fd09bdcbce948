"""Silences: the hosts that a run takes down on purpose, without notifications. Pure.

A run whose process has died keeps nobody silent; one of another machine,
of whose process nothing is known, no longer than its plan says that it lasts at most.
"""

from collections.abc import Callable, Sequence

from backstay.journal.records import RunRecord, RunState
from backstay.watch.detect.status import Silence

TAKES_DOWN = frozenset(("reboot", "replace", "restore", "reattach"))
"""The runbooks that take hosts or their services down."""
AFTER = 60.0
"""Seconds after the end of a run: what it restarted may still be settling."""


def silences(
    runs: Sequence[RunRecord], now: float, alive: Callable[[RunRecord], bool]
) -> tuple[Silence, ...]:
    """Return the silences that runs make; ``alive`` says whether a run's process may be."""
    found: dict[str, Silence] = {}
    for run in runs:
        if run.plan.runbook in TAKES_DOWN and run.began is not None and _holds(run, now, alive):
            for host in run.plan.targets:
                found.setdefault(host, Silence(host=host, run=run.id, since=run.began))
    return tuple(found.values())


def _holds(run: RunRecord, now: float, alive: Callable[[RunRecord], bool]) -> bool:
    if run.began is None:
        return False
    if run.state is not RunState.RUNNING:
        return run.ended is not None and now - run.ended < AFTER
    if now - run.began > run.plan.bound + AFTER:
        return False
    return alive(run)
