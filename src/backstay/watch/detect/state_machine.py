"""From probe results to states: up, suspect, down, recovering, up. A pure state machine.

One bad sign makes suspect, never down. Down is made by signs that are sure, soon; or by signs that
could also come from a slow host, a bad network or this machine's own load, more of them; and where
there is such an excuse, only by their lasting. So a hung service is found in seconds, and a loaded
one is left alone.
"""

from dataclasses import dataclass, replace

from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from backstay.watch.detect.status import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a subject is down: after ``sure`` sure signs in a row; or after ``soft`` of any kind.

    With an excuse the bad signs must have lasted for ``patience`` seconds, and been ``soft``. None
    for ``soft``: only sure signs count. No row of signs shorter than ``lasting`` seconds is enough.
    ``recovered`` is for how many seconds only good signs must come before down is up again.
    """

    sure: int = 2
    soft: int | None = 3
    patience: float = 30.0
    lasting: float = 0.0
    recovered: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """How a subject stands, and what of its last signs matters for what comes next.

    ``since`` is when the state was entered, ``evidence`` why, ``trouble`` why it was down last;
    ``outcome`` is how the last bad sign looked, ``seconds`` the last answer's latency. ``began`` is
    when the present row of bad signs began, None in a row of good ones; ``bad`` and ``sure`` count
    them, ``excused`` tells that one of them had an excuse. ``well`` is since when only good signs
    came. ``seen`` is the last sign's time. All times are Unix seconds.
    """

    subject: Subject
    state: State = State.UNKNOWN
    since: float = 0.0
    evidence: str = "not probed yet"
    trouble: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    seconds: float | None = None
    began: float | None = None
    bad: int = 0
    sure: int = 0
    excused: bool = False
    well: float | None = None
    seen: float = 0.0

    @property
    def is_down(self) -> bool:
        """Return whether it is down, or not yet believed to be back."""
        return self.state in {State.DOWN, State.RECOVERING}


def step(target: TargetState, result: ProbeResult, rule: Rule, excuse: str = "") -> TargetState:
    """Return how the subject stands after one more sign.

    ``excuse`` says why a bad sign may come from elsewhere than the subject, empty where nothing
    does.
    """
    if result.good:
        return _after_good(target, result, rule)
    if result.bad:
        return _after_bad(target, result, rule, excuse)
    return target if target.seen else replace(target, evidence=result.evidence)


def forgotten(target: TargetState, now: float, after: float) -> TargetState:
    """Return the track as unknown where no sign has come for ``after`` seconds.

    What was down stays down: nobody has seen it work.
    """
    if target.state in {State.UP, State.SUSPECT} and now - target.seen > after:
        return replace(
            target,
            state=State.UNKNOWN,
            since=now,
            evidence="cannot be probed",
            began=None,
            bad=0,
            sure=0,
            excused=False,
            well=None,
            seconds=None,
        )
    return target


def _after_good(target: TargetState, result: ProbeResult, rule: Rule) -> TargetState:
    well = result.at if target.well is None else target.well
    target = replace(
        target,
        seen=result.at,
        seconds=result.seconds,
        began=None if not target.is_down else target.began,
        bad=0,
        sure=0,
        excused=False,
        well=well,
    )
    if target.state is State.DOWN:
        return _entered(target, State.RECOVERING, result, result.evidence)
    if target.state is State.RECOVERING and result.at - well < rule.recovered:
        return target
    if target.state is not State.UP:
        return replace(_entered(target, State.UP, result, result.evidence), began=None)
    return target


def _after_bad(target: TargetState, result: ProbeResult, rule: Rule, excuse: str) -> TargetState:
    target = replace(
        target,
        seen=result.at,
        seconds=None,
        outcome=result.outcome,
        began=result.at if target.began is None else target.began,
        bad=target.bad + 1,
        sure=target.sure + result.sure,
        excused=target.excused or bool(excuse),
        well=None,
    )
    if target.state is State.RECOVERING:
        return _entered(target, State.DOWN, result, f"again: {result.evidence}")
    if target.state is State.DOWN:
        return target
    if _is_down(target, result, rule):
        counted = _counted(target, result)
        return replace(_entered(target, State.DOWN, result, counted), trouble=counted)
    if target.state is State.SUSPECT:
        return target
    return _entered(target, State.SUSPECT, result, result.evidence)


def _is_down(target: TargetState, result: ProbeResult, rule: Rule) -> bool:
    lasted = result.at - target.began if target.began is not None else 0.0
    if lasted < rule.lasting:
        return False
    if result.sure and target.sure >= rule.sure:
        return True
    if rule.soft is None or target.bad < rule.soft:
        return False
    return not target.excused or lasted >= rule.patience


def _entered(target: TargetState, state: State, result: ProbeResult, evidence: str) -> TargetState:
    return replace(target, state=state, since=result.at, evidence=evidence)


def _counted(target: TargetState, result: ProbeResult) -> str:
    lasted = result.at - target.began if target.began is not None else 0.0
    if target.bad < 2:
        return result.evidence
    return f"{result.evidence} ({target.bad} times in a row, for {lasted:.1f} s)"
