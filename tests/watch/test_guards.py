"""What the policy wants done, and what speaks against it."""

from dataclasses import replace
from datetime import datetime

import pytest

from backstay.clock import Ages
from backstay.inventory.watch import Policy
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord, RunState
from backstay.runbooks import power_off
from backstay.watch.act.guards import Situation, WatchAction, blocked_by, reason_for, wanted
from backstay.watch.incidents.incident import Cause, Incident, Kind
from tests.watch.act_harness import CLOUD
from tests.watch.causes import CAUSE

POLICY = Policy.model_validate(
    {"service-failed": "restart", "agent-not-processing": "reattach", "controller-dead": "replace"}
)
DEAD = replace(CAUSE, kind=Kind.HOST_DEAD, key="host:controller", service="host")
GOOD = Situation(now=10_000.0, doubt="", writable=True, lag=0.0, incidents=(), runs=())


def incident_of(cause: Cause) -> Incident:
    return Incident(id=7, cloud="lab", cause=cause, began=1.0, opened=2.0)


def run_of(
    cause: Cause,
    state: RunState,
    *,
    runbook: str = "restart",
    ended: float | None = 9_000.0,
    made: float = 8_000.0,
    reason: str | None = None,
    began: float | None = 8_001.0,
) -> RunRecord:
    step = Step(id="x", action="x", target=cause.host, does="x", bound=1.0)
    return RunRecord(
        id=f"{runbook}-1",
        state=state,
        plan=Plan(runbook=runbook, cloud="lab", targets=(cause.host,), steps=(step,)),
        who="root",
        holder="root@ops, process 1",
        ticket="",
        made=made,
        began=began,
        ended=ended,
        steps=(),
        reason=reason_for(incident_of(cause)) if reason is None else reason,
    )


def test_the_policy_says_what_is_wanted() -> None:
    deaf = replace(CAUSE, kind=Kind.AGENT_NOT_PROCESSING, host="compute1")
    assert wanted(POLICY, CAUSE, CLOUD) is WatchAction.RESTART
    assert wanted(POLICY, deaf, CLOUD) is WatchAction.REATTACH
    assert wanted(POLICY, DEAD, CLOUD) is WatchAction.REPLACE
    assert wanted(POLICY, replace(DEAD, host="proxy"), CLOUD) is WatchAction.REPLACE
    assert wanted(POLICY, replace(DEAD, host="compute1"), CLOUD) is None
    assert wanted(POLICY, replace(CAUSE, kind=Kind.SERVICE_HUNG), CLOUD) is None
    for cause in (CAUSE, deaf, DEAD):
        assert wanted(Policy(), cause, CLOUD) is None


def test_nothing_speaks_against_it() -> None:
    assert blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, GOOD) == ""


CUT = incident_of(replace(CAUSE, kind=Kind.MONITORING_HOST_ISOLATED, key="cut-off", host=""))


@pytest.mark.parametrize(
    ("situation", "why"),
    [
        (replace(GOOD, doubt="the lock was not renewed"), "not renewed"),
        (replace(GOOD, writable=False), "journal cannot be written"),
        (replace(GOOD, incidents=(CUT,)), "this monitoring host is isolated"),
        (replace(GOOD, lag=2.0), "itself is late"),
    ],
)
def test_never_while_in_doubt(situation: Situation, why: str) -> None:
    assert why in blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, situation)


def test_a_host_of_which_witnesses_disagree_is_not_replaced() -> None:
    unsure = replace(DEAD, kind=Kind.HOST_UNREACHABLE, evidence=("compute1 sees it",))
    assert wanted(POLICY, unsure, CLOUD) is WatchAction.REPLACE
    why = blocked_by(WatchAction.REPLACE, incident_of(unsure), POLICY, GOOD)
    assert "not known to be dead" in why
    assert "compute1 sees it" in why
    assert wanted(POLICY, CUT.cause, CLOUD) is WatchAction.REPLACE
    assert "monitoring host is isolated" in blocked_by(WatchAction.REPLACE, CUT, POLICY, GOOD)


def test_never_two_things_at_once() -> None:
    other = run_of(replace(CAUSE, host="proxy"), RunState.RUNNING, reason="kernel", ended=None)
    for act in set(WatchAction) - {WatchAction.POWER_OFF}:
        why = blocked_by(act, incident_of(CAUSE), POLICY, replace(GOOD, runs=(other,)))
        assert "is running" in why
    gone = replace(GOOD, runs=(other,), alive=lambda _: False)
    assert blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, gone) == ""


@pytest.mark.parametrize("runbook", ["reboot", "replace"])
def test_what_has_stopped_half_way_on_the_host_comes_first(runbook: str) -> None:
    reason = None if runbook == "replace" else "kernel"
    half = run_of(DEAD, RunState.FAILED, runbook=runbook, reason=reason)
    why = blocked_by(WatchAction.REPLACE, incident_of(DEAD), POLICY, replace(GOOD, runs=(half,)))
    assert f"backstay runs resume {runbook}-1" in why


def test_only_so_often() -> None:
    tried = [
        replace(run_of(CAUSE, state), id=f"restart-{at}")
        for at, state in enumerate((RunState.FAILED, RunState.DONE))
    ]
    once = replace(GOOD, runs=tried[:1])
    twice = replace(GOOD, runs=tried)
    old = replace(GOOD, runs=[replace(one, made=-90_000.0) for one in tried])
    assert blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, once) == ""
    assert "tried 2 times" in blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, twice)
    assert blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, old) == ""
    other = incident_of(replace(CAUSE, key="another"))
    assert blocked_by(WatchAction.RESTART, other, POLICY, twice) == ""


def test_what_nobody_approved_may_be_asked_again() -> None:
    expired = [run_of(DEAD, RunState.ABANDONED, runbook="replace", began=None)] * 2
    assert blocked_by(WatchAction.ASK, incident_of(DEAD), POLICY, replace(GOOD, runs=expired)) == ""
    # but what could not even be started, twice, was tried
    assert "tried" in blocked_by(
        WatchAction.REPLACE, incident_of(DEAD), POLICY, replace(GOOD, runs=expired)
    )


ON = replace(CAUSE, kind=Kind.FENCED_HOST_ON, key="fenced-host:old", host="old")


def cut_of(state: RunState, *, ended: float | None) -> RunRecord:
    return run_of(ON, state, runbook=power_off.RUNBOOK, ended=ended)


def blocked_cut(*runs: RunRecord) -> str:
    return blocked_by(WatchAction.POWER_OFF, incident_of(ON), POLICY, replace(GOOD, runs=runs))


def test_a_fenced_host_that_is_on_waits_for_no_other_run() -> None:
    other = run_of(replace(CAUSE, host="proxy"), RunState.RUNNING, reason="kernel", ended=None)
    ended = run_of(replace(CAUSE, key="another"), RunState.DONE, ended=9_990.0)
    assert blocked_cut(other, ended) == ""
    assert "in doubt" in blocked_by(
        WatchAction.POWER_OFF, incident_of(ON), POLICY, replace(GOOD, doubt="late", runs=(other,))
    )


def test_its_power_is_cut_again_after_half_a_minute_and_only_so_often() -> None:
    until = f"{datetime.fromtimestamp(10_020.0):%H:%M:%S}"
    assert f"no action before {until}" in blocked_cut(cut_of(RunState.DONE, ended=9_990.0))
    assert blocked_cut(cut_of(RunState.DONE, ended=9_970.0)) == ""
    twice = [replace(cut_of(RunState.FAILED, ended=9_000.0), id=f"power-off-{n}") for n in (1, 2)]
    assert "tried 2 times" in blocked_cut(*twice)


def test_nothing_is_done_just_after_something_was() -> None:
    ended = run_of(replace(CAUSE, key="another"), RunState.DONE, ended=9_990.0)
    situation = replace(GOOD, runs=(ended,))
    why = blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, situation)
    assert f"{datetime.fromtimestamp(10_590.0):%H:%M:%S}" in why
    later = replace(situation, now=10_591.0)
    assert blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, later) == ""
    assert blocked_by(WatchAction.ASK, incident_of(DEAD), POLICY, situation) == ""


def test_a_clock_that_is_set_ends_no_cool_down_and_forgets_no_attempt() -> None:
    clocks = {"wall": 10_000.0, "up": 0.0}
    ages = Ages(lambda: clocks["wall"], lambda: clocks["up"])
    ended = run_of(CAUSE, RunState.FAILED, made=9_980.0, ended=9_990.0)

    def blocked() -> str:
        now = replace(GOOD, now=clocks["wall"], runs=[ended], ages=ages)
        return blocked_by(WatchAction.RESTART, incident_of(CAUSE), POLICY, now)

    assert "restart-1 has just ended" in blocked()
    for wall in (500_000.0, 5.0):
        clocks["wall"] = wall
        assert "restart-1 has just ended" in blocked()
    clocks["up"] = POLICY.cool_down + 1
    assert blocked() == ""
