"""From signs to states: up, suspect, down, recovering, up. A pure state machine.

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
    ``look`` is how the last bad sign looked, ``seconds`` the last answer's latency. ``began`` is
    when the present row of bad signs began, None in a row of good ones; ``bad`` and ``sure`` count
    them, ``excused`` tells that one of them had an excuse. ``well`` is since when only good signs
    came. ``seen`` is the last sign's time. All times are Unix seconds.
    """

    subject: Subject
    state: State = State.UNKNOWN
    since: float = 0.0
    evidence: str = "not seen yet"
    trouble: str = ""
    look: Outcome = Outcome.UNKNOWN
    seconds: float | None = None
    began: float | None = None
    bad: int = 0
    sure: int = 0
    excused: bool = False
    well: float | None = None
    seen: float = 0.0

    @property
    def is_down(self) -> bool:
        """Say whether it is down, or not yet believed to be back."""
        return self.state in {State.DOWN, State.RECOVERING}


def step(track: TargetState, sign: ProbeResult, rule: Rule, excuse: str = "") -> TargetState:
    """Return how the subject stands after one more sign.

    ``excuse`` says why a bad sign may come from elsewhere than the subject, empty where nothing
    does.
    """
    if sign.good:
        return _after_good(track, sign, rule)
    if sign.bad:
        return _after_bad(track, sign, rule, excuse)
    return track if track.seen else replace(track, evidence=sign.evidence)


def forgotten(track: TargetState, now: float, after: float) -> TargetState:
    """Return the track as unknown where no sign has come for ``after`` seconds.

    What was down stays down: nobody has seen it work.
    """
    if track.state in {State.UP, State.SUSPECT} and now - track.seen > after:
        return replace(
            track,
            state=State.UNKNOWN,
            since=now,
            evidence="cannot be asked",
            began=None,
            bad=0,
            sure=0,
            excused=False,
            well=None,
            seconds=None,
        )
    return track


def _after_good(track: TargetState, sign: ProbeResult, rule: Rule) -> TargetState:
    well = sign.at if track.well is None else track.well
    track = replace(
        track,
        seen=sign.at,
        seconds=sign.seconds,
        began=None if not track.is_down else track.began,
        bad=0,
        sure=0,
        excused=False,
        well=well,
    )
    if track.state is State.DOWN:
        return _entered(track, State.RECOVERING, sign, sign.evidence)
    if track.state is State.RECOVERING and sign.at - well < rule.recovered:
        return track
    if track.state is not State.UP:
        return replace(_entered(track, State.UP, sign, sign.evidence), began=None)
    return track


def _after_bad(track: TargetState, sign: ProbeResult, rule: Rule, excuse: str) -> TargetState:
    track = replace(
        track,
        seen=sign.at,
        seconds=None,
        look=sign.look,
        began=sign.at if track.began is None else track.began,
        bad=track.bad + 1,
        sure=track.sure + sign.sure,
        excused=track.excused or bool(excuse),
        well=None,
    )
    if track.state is State.RECOVERING:
        return _entered(track, State.DOWN, sign, f"again: {sign.evidence}")
    if track.state is State.DOWN:
        return track
    if _is_down(track, sign, rule):
        counted = _counted(track, sign)
        return replace(_entered(track, State.DOWN, sign, counted), trouble=counted)
    if track.state is State.SUSPECT:
        return track
    return _entered(track, State.SUSPECT, sign, sign.evidence)


def _is_down(track: TargetState, sign: ProbeResult, rule: Rule) -> bool:
    lasted = sign.at - track.began if track.began is not None else 0.0
    if lasted < rule.lasting:
        return False
    if sign.sure and track.sure >= rule.sure:
        return True
    if rule.soft is None or track.bad < rule.soft:
        return False
    return not track.excused or lasted >= rule.patience


def _entered(track: TargetState, state: State, sign: ProbeResult, evidence: str) -> TargetState:
    return replace(track, state=state, since=sign.at, evidence=evidence)


def _counted(track: TargetState, sign: ProbeResult) -> str:
    lasted = sign.at - track.began if track.began is not None else 0.0
    if track.bad < 2:
        return sign.evidence
    return f"{sign.evidence} ({track.bad} times in a row, for {lasted:.1f} s)"
