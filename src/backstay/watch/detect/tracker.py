"""All subjects' tracks: takes signs, keeps states, tells when one has changed."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from backstay.watch.detect.history import History
from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.second_hosts import SERVICES
from backstay.watch.detect.state_machine import Rule, TargetState, forgotten, step
from backstay.watch.detect.status import State, TargetStatus
from backstay.watch.detect.topology import AGENT, HOST, Topology

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
        self.tracks: dict[str, TargetState] = {}
        self.history = History()
        self.changed = asyncio.Event()
        self._started: dict[str, float] = {}
        self._excuse = excuse
        self._statuses: dict[str, TargetStatus] = {}
        self._confirmed = Rule(sure=1, soft=None, recovered=recovered)
        self._unit = Rule(sure=2, soft=UNITS_SOFT, recovered=recovered)
        self._pulse = Rule(sure=2, soft=3, recovered=recovered)
        self._api = Rule(sure=3, soft=3, lasting=LASTING, recovered=recovered)

    def take(self, sign: ProbeResult) -> None:
        """Take one sign."""
        key = sign.subject.key
        track = self.tracks.get(key) or TargetState(subject=sign.subject)
        if sign.age is not None:
            self._started[key] = sign.at - sign.age
        excuse = self._excuse(sign.subject.host) if sign.bad else ""
        if sign.bad and self._is_moving(sign):
            sign = replace(sign, sure=False)
            excuse = excuse or "it is being started or stopped"
        new = step(track, sign, self._rule(sign), excuse)
        self.tracks[key] = new
        self.history.take(sign)
        if new.state is not track.state:
            self.changed.set()

    def forget(self, now: float) -> None:
        """Make unknown what has not been seen for long."""
        for key, track in self.tracks.items():
            after = FORGET_AGENTS if track.subject.service == AGENT else FORGET
            self.tracks[key] = forgotten(track, now, after)

    def targets(self) -> dict[str, TargetStatus]:
        """Return all standings; those that have not changed are the same objects as before."""
        for key, track in self.tracks.items():
            recent = self.history.recent(key)
            old = self._statuses.get(key)
            if old is not None and old.since == track.since and old.recent == recent:
                continue
            self._statuses[key] = TargetStatus(
                subject=track.subject,
                state=track.state,
                since=track.since,
                evidence=track.evidence,
                seconds=track.seconds,
                recent=recent,
            )
        return dict(self._statuses)

    def may_be_slow(self, key: str) -> bool:
        """Say whether a subject has bad signs that something else may excuse."""
        track = self.tracks.get(key)
        return track is not None and track.state is State.SUSPECT and track.excused

    def _rule(self, sign: ProbeResult) -> Rule:
        subject = sign.subject
        if subject.service in {HOST, AGENT, *SERVICES}:
            return self._confirmed
        if self.top.is_api(subject):
            return self._api
        return self._unit if subject.key in self.top.units else self._pulse

    def _is_moving(self, sign: ProbeResult) -> bool:
        """Say whether a unit of the service on that host is just being started or stopped."""
        subject = sign.subject
        if subject.service in {HOST, AGENT} or subject.key in self.top.units:
            return False
        prefix = f"{subject.host}/{subject.service}/"
        return any(
            self._moves(track, sign.at)
            for key, track in self.tracks.items()
            if key.startswith(prefix) and key in self.top.units
        )

    def _moves(self, unit: TargetState, now: float) -> bool:
        """Say whether systemd starts or stops a unit, or has only just started it."""
        if unit.state is State.SUSPECT and unit.look is Outcome.FAILED and not unit.sure:
            return True
        return now - self._started.get(unit.subject.key, -STARTING) < STARTING
