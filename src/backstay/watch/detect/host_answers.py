"""The status lines of a host, read, and as probe results. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeVar

from backstay.answers import LONGEST_LINE, BadAnswer, Line, Number, Seconds, clean, part, read
from backstay.jsondata import Json
from backstay.services.broker_way import BrokenLink
from backstay.services.declaration import HostLivenessProbe, Unit
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from backstay.watch.detect.topology import AGENT, unit_subject

T = TypeVar("T")

MOVING = {"activating", "deactivating", "reloading", "refreshing", "maintenance"}
LATE_WAYS, FAILED_WAYS = 2, 3
"""How often in a row the way to the broker must be broken: without an answer, or by a refusal."""
_LOOKS = {"ok": Outcome.OK, "late": Outcome.LATE, "failed": Outcome.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbes:
    """What one host is asked: units and liveness probes, each with its service's name."""

    host: str
    units: tuple[tuple[str, Unit], ...]
    probes: tuple[tuple[str, HostLivenessProbe], ...]


class UnitLine(NamedTuple):
    """A unit in a line, as ``onhost.look_at_units`` gives it."""

    load: Line
    active: Line
    sub: Line
    result: Line
    letter: Line
    since: Seconds


class AnswerLine(NamedTuple):
    """The answer to one question in a line, as ``onhost.latest`` gives it."""

    number: Number
    ended: Literal["ok", "late", "failed"]
    said: Json
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """One line, in which only what is new stands; ``onhost.watch_host`` says what it means.

    ``odd_units`` and ``odd_answers`` are the names of those that are not of their form, with why.
    """

    clock: Seconds | None = None
    lag: Number = 0.0
    waits: Number | None = None
    boot: Line = ""
    units: Mapping[Line, UnitLine] = field(default_factory=dict)
    answers: Mapping[Line, AnswerLine] = field(default_factory=dict)
    odd_units: Mapping[Line, Line] = field(default_factory=dict)
    odd_answers: Mapping[Line, Line] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LooseLine:
    """A line in which something is not of its form: the rest still counts."""

    clock: Json = None
    lag: Json = 0.0
    waits: Json = None
    boot: Json = ""
    units: Mapping[Line, Json] = field(default_factory=dict)
    answers: Mapping[Line, Json] = field(default_factory=dict)


def read_line(raw: bytes, *, most: int) -> StatusLine:
    """Return what a line of at most ``most`` bytes says. Raises BadAnswer where it is no line."""
    try:
        return read(StatusLine, raw, most=most)
    except BadAnswer:
        loose = read(_LooseLine, raw, most=most)
    units, odd_units = _sorted_out({n: (UnitLine, unit) for n, unit in loose.units.items()})
    answers, odd_answers = _sorted_out({n: (AnswerLine, one) for n, one in loose.answers.items()})
    kinds: dict[str, Any] = {"clock": Seconds, "lag": Number, "waits": Number, "boot": Line}
    top, _ = _sorted_out({name: (kind, getattr(loose, name)) for name, kind in kinds.items()})
    return StatusLine(
        **top, units=units, answers=answers, odd_units=odd_units, odd_answers=odd_answers
    )


def _sorted_out(
    given: Mapping[str, tuple[type[Any], Json]],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that are of their kinds, and why the others are not."""
    good, odd = {}, {}
    for name, (kind, value) in given.items():
        try:
            good[name] = part(kind, value)
        except BadAnswer as error:
            odd[name] = f"its state cannot be read: {error}"
    return good, odd


@dataclass(slots=True)
class HostAnswer:
    """The status of a host so far; a line has only what is new.

    ``clock`` is the host's monotonic one, in seconds. ``lag`` is how late its own last line was,
    ``waits`` the share of the last second in which somebody waited for a processor, None unknown.
    ``numbers`` are those of answers that have become signs. ``asked`` are the names of the units
    and questions that it was asked for, None for any: others are not kept. ``failing`` is how often
    in a row the way to the broker was broken.
    """

    asked: frozenset[str] | None = None
    units: dict[str, UnitLine] = field(default_factory=dict)
    answers: dict[str, AnswerLine] = field(default_factory=dict)
    odd_units: dict[str, str] = field(default_factory=dict)
    odd_answers: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    clock: float = 0.0
    lag: float = 0.0
    waits: float | None = None
    boot: str = ""
    failing: int = 0

    def take(self, line: StatusLine) -> None:
        """Take what one line brings."""
        _renew(self.units, self.odd_units, self._mine(line.units), self._mine(line.odd_units))
        _renew(
            self.answers, self.odd_answers, self._mine(line.answers), self._mine(line.odd_answers)
        )
        self.lag, self.waits = line.lag, line.waits
        self.boot = line.boot or self.boot
        self.clock = self.clock if line.clock is None else line.clock

    def age(self, unit: str) -> float | None:
        """Return for how many seconds a unit has been active, None where it is not."""
        shown = self.units.get(unit)
        if shown is None or shown.active != "active":
            return None
        return max(0.0, self.clock - shown.since)

    def _mine(self, given: Mapping[str, T]) -> Mapping[str, T]:
        if self.asked is None or given.keys() <= self.asked:
            return given
        return {name: value for name, value in given.items() if name in self.asked}


def _renew(
    known: dict[str, T], odd: dict[str, str], given: Mapping[str, T], unreadable: Mapping[str, str]
) -> None:
    """Put what is new in place of what was known; what cannot be read is not known any more."""
    for name, value in given.items():
        known[name] = value
        odd.pop(name, None)
    for name, why in unreadable.items():
        odd[name] = why
        known.pop(name, None)


def probe_results(
    watched: HostProbes,
    reported: HostAnswer,
    at: float,
    name_of: Callable[[str], str] = lambda _address: "",
) -> list[ProbeResult]:
    """Return the signs of one line: of every unit, and of each probe that was run again.

    ``name_of`` returns the name of a host of the cloud by its address, empty for others.
    """
    found = [_unit(watched.host, service, unit, reported, at) for service, unit in watched.units]
    for service, probe in watched.probes:
        subject = _probed(watched.host, service, probe)
        if why := reported.odd_answers.get(probe.name):
            found.append(_unknown(subject, f"{probe.name}: {why}", at))
        answer = reported.answers.get(probe.name)
        if answer is None or reported.numbers.get(probe.name) == answer.number:
            continue
        reported.numbers[probe.name] = answer.number
        result = _answer(subject, answer, at)
        if probe.way is None:
            found.append(result)
        else:
            broken = probe.way(str(answer.said), watched.host, name_of)
            found += _way(result, broken, reported)
    return found


def _probed(host: str, service: str, probe: HostLivenessProbe) -> Subject:
    """Return the subject of a probe; the way to the broker is that of the host's agents."""
    service = service if probe.way is None else AGENT
    return Subject(host=host, service=service, name=probe.name)


def _way(result: ProbeResult, broken: BrokenLink | None, reported: HostAnswer) -> list[ProbeResult]:
    """Return the sign that the way to the broker is: sure where it is not a moment's.

    None where it could not be tried: the host has no service with a broker.
    What gives no answer at all was tried for seconds already; what refuses may be starting.
    """
    if not result.bad:
        reported.failing = 0
        return [result] if result.good else []
    if broken is None:
        return []
    reported.failing += 1
    enough = LATE_WAYS if result.outcome is Outcome.LATE else FAILED_WAYS
    sure = reported.failing >= enough
    return [replace(result, outcome=Outcome.NO_WAY, evidence=broken.text, sure=sure)]


def unknown_results(watched: HostProbes, why: str, at: float) -> list[ProbeResult]:
    """Return that nothing is known of a host's units and probes, for one whose lines are none."""
    units = [unit_subject(watched.host, service, unit) for service, unit in watched.units]
    probes = [_probed(watched.host, service, one) for service, one in watched.probes]
    return [_unknown(subject, f"{subject.name}: {why}", at) for subject in (*units, *probes)]


def _unknown(subject: Subject, evidence: str, at: float) -> ProbeResult:
    return ProbeResult(subject=subject, outcome=Outcome.UNKNOWN, evidence=evidence, at=at)


def _unit(host: str, service: str, unit: Unit, reported: HostAnswer, at: float) -> ProbeResult:
    outcome, evidence, sure = _looks(unit, reported)
    subject = unit_subject(host, service, unit)
    age = reported.age(unit.name)
    return ProbeResult(
        subject=subject, outcome=outcome, evidence=evidence, at=at, sure=sure, age=age
    )


def _looks(unit: Unit, reported: HostAnswer) -> tuple[Outcome, str, bool]:
    """Return how a unit looks, in words, and whether that is sure."""
    shown = reported.units.get(unit.name)
    name = f"unit {unit.name}"
    if why := reported.odd_units.get(unit.name):
        return Outcome.UNKNOWN, f"{name}: {why}", False
    if shown is not None and shown.load == "not-found" and unit.if_found:
        return Outcome.OK, f"{name} is not there: this host does its work in another way", False
    if shown is None or shown.load == "not-found":
        return Outcome.UNKNOWN, f"systemd does not know {name}", False
    load, active, sub, result, letter, _ = shown
    if active == "active":
        return _running(name, sub, letter)
    socket = reported.units.get(unit.socket)
    if socket is not None and socket.active == "active":
        return Outcome.OK, f"{name} is idle, {unit.socket} listens for it", False
    why = f", {result}" if result not in {"", "success"} else ""
    why += ", masked" if load == "masked" else ""
    return Outcome.FAILED, f"{name} is {active} ({sub}{why})", active not in MOVING


def _running(name: str, sub: str, letter: str) -> tuple[Outcome, str, bool]:
    """Return how a unit looks that systemd calls active."""
    if letter == "T":
        return Outcome.LATE, f"{name}: all its processes are stopped by a signal", True
    if letter == "X":
        # systemd has not reported yet whether it starts it again by itself
        return Outcome.REFUSED, f"{name}: its process has ended", False
    return Outcome.OK, f"{name} is active ({sub})", False


def _answer(subject: Subject, answer: AnswerLine, at: float) -> ProbeResult:
    outcome = _LOOKS[answer.ended]
    if not isinstance(answer.said, str):
        return _unknown(subject, f"{subject.name}: its answer is no text", at)
    said = clean(answer.said, longest=LONGEST_LINE)
    return ProbeResult(
        subject=subject,
        outcome=outcome,
        evidence=f"{subject.name}: {said}" if outcome is not Outcome.OK else said,
        at=at,
        seconds=answer.seconds if outcome is Outcome.OK else None,
        sure=outcome is Outcome.FAILED,
    )
