"""The states of all targets and their latency history, from probe results."""

import asyncio
import statistics
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace

from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.second_hosts import SERVICES
from backstay.watch.detect.state_machine import Rule, TargetState, forgotten, step
from backstay.watch.detect.status import State, TargetStatus
from backstay.watch.detect.topology import AGENT, HOST, Topology
from backstay.watch.incidents.store import Minute

UNITS_SOFT = 15
LASTING = 2.0
"""Seconds for which an API must fail: what it stands on is then known to have failed."""
STARTING = 20.0
"""Seconds for which a service may still be starting that systemd calls active.

A server may listen, and so be active, before it has read its program: on a busy host nova-api took
connections for 4 s and answered none.
"""
FORGET = 30.0
FORGET_AGENTS = 180.0


class StateTracker:
    """How every subject stands. ``changed`` is set when one has got another state."""

    def __init__(self, top: Topology, recovered: float, excuse: Callable[[str], str]) -> None:
        self.top = top
        self.targets: dict[str, TargetState] = {}
        self.history = History()
        self.changed = asyncio.Event()
        self._started: dict[str, float] = {}
        self._excuse = excuse
        self._statuses: dict[str, TargetStatus] = {}
        self._confirmed = Rule(sure=1, soft=None, recovered=recovered)
        self._unit = Rule(sure=2, soft=UNITS_SOFT, recovered=recovered)
        self._pulse = Rule(sure=2, soft=3, recovered=recovered)
        self._api = Rule(sure=3, soft=3, lasting=LASTING, recovered=recovered)

    def take(self, result: ProbeResult) -> None:
        """Take one sign."""
        key = result.subject.key
        target = self.targets.get(key) or TargetState(subject=result.subject)
        if result.age is not None:
            self._started[key] = result.at - result.age
        excuse = self._excuse(result.subject.host) if result.bad else ""
        if result.bad and self._is_moving(result):
            result = replace(result, sure=False)
            excuse = excuse or "it is being started or stopped"
        new = step(target, result, self._rule(result), excuse)
        self.targets[key] = new
        self.history.take(result)
        if new.state is not target.state:
            self.changed.set()

    def forget(self, now: float) -> None:
        """Make unknown what has not been seen for long."""
        for key, target in self.targets.items():
            after = FORGET_AGENTS if target.subject.service == AGENT else FORGET
            self.targets[key] = forgotten(target, now, after)

    def statuses(self) -> dict[str, TargetStatus]:
        """Return all target states; those that have not changed are the same objects as before."""
        for key, target in self.targets.items():
            recent = self.history.recent(key)
            old = self._statuses.get(key)
            if old is not None and old.since == target.since and old.recent == recent:
                continue
            self._statuses[key] = TargetStatus(
                subject=target.subject,
                state=target.state,
                since=target.since,
                evidence=target.evidence,
                seconds=target.seconds,
                recent=recent,
            )
        return dict(self._statuses)

    def may_be_slow(self, key: str) -> bool:
        """Return whether a subject has bad signs that something else may excuse."""
        target = self.targets.get(key)
        return target is not None and target.state is State.SUSPECT and target.excused

    def _rule(self, result: ProbeResult) -> Rule:
        subject = result.subject
        if subject.service in {HOST, AGENT, *SERVICES}:
            return self._confirmed
        if self.top.is_api(subject):
            return self._api
        return self._unit if subject.key in self.top.units else self._pulse

    def _is_moving(self, result: ProbeResult) -> bool:
        """Return whether a unit of the service on that host is just being started or stopped."""
        subject = result.subject
        if subject.service in {HOST, AGENT} or subject.key in self.top.units:
            return False
        prefix = f"{subject.host}/{subject.service}/"
        return any(
            self._moves(target, result.at)
            for key, target in self.targets.items()
            if key.startswith(prefix) and key in self.top.units
        )

    def _moves(self, unit: TargetState, now: float) -> bool:
        """Return whether systemd starts or stops a unit, or has only just started it."""
        if unit.state is State.SUSPECT and unit.outcome is Outcome.FAILED and not unit.sure:
            return True
        return now - self._started.get(unit.subject.key, -STARTING) < STARTING


RECENT = 120
Point = tuple[float, float | None]


class History:
    """Gathers signs that have a latency, good and bad ones."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[Point]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._minutes: dict[int, dict[str, list[float | None]]] = {}
        self._timed: set[str] = set()

    def take(self, result: ProbeResult) -> None:
        """Take one sign. What has never had a latency has no history."""
        key = result.subject.key
        if result.seconds is not None:
            self._timed.add(key)
        if key not in self._timed or not (result.good or result.bad):
            return
        self._recent[key].append((result.at, result.seconds))
        minute = self._minutes.setdefault(int(result.at // 60), {})
        minute.setdefault(key, []).append(result.seconds)

    def recent(self, key: str) -> tuple[Point, ...]:
        """Return a subject's last answers, oldest first."""
        return tuple(self._recent[key]) if key in self._recent else ()

    def finished(self, now: float) -> list[Minute]:
        """Return the minutes that are over, and forget them."""
        over = [minute for minute in self._minutes if minute < int(now // 60)]
        return [
            _minute(minute, one) for minute in over for one in self._minutes.pop(minute).items()
        ]


def _minute(minute: int, one: tuple[str, list[float | None]]) -> Minute:
    key, seconds = one
    came = [second for second in seconds if second is not None]
    return Minute(
        subject=key,
        minute=minute,
        asked=len(seconds),
        answered=len(came),
        median=statistics.median(came) if came else None,
        longest=max(came, default=None),
    )
