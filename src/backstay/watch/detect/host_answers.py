"""The status lines of a host as probe results. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backstay.services.declaration import HostLivenessProbe, Unit
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from backstay.watch.detect.topology import unit_subject

MOVING = {"activating", "deactivating", "reloading", "refreshing", "maintenance"}
_LOOKS = {"ok": Outcome.OK, "late": Outcome.LATE, "failed": Outcome.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbes:
    """What one host is asked: units and liveness probes, each with its service's name."""

    host: str
    units: tuple[tuple[str, Unit], ...]
    probes: tuple[tuple[str, HostLivenessProbe], ...]


@dataclass(slots=True)
class HostAnswer:
    """The status of a host so far; a line has only what is new.

    ``clock`` is the host's monotonic one, in seconds. ``lag`` is how late its own last line was,
    ``waits`` the share of the last second in which somebody waited for a processor, None unknown.
    ``numbers`` are those of answers that have become signs.
    """

    units: dict[str, Sequence[Any]] = field(default_factory=dict)
    answers: dict[str, Sequence[Any]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    clock: float = 0.0
    lag: float = 0.0
    waits: float | None = None
    boot: str = ""

    def take(self, line: Mapping[str, Any]) -> None:
        """Take what one line brings."""
        self.units.update(line.get("units", {}))
        self.answers.update(line.get("answers", {}))
        self.lag, self.waits = line.get("lag", 0.0), line.get("waits")
        self.boot, self.clock = line.get("boot", self.boot), line.get("clock", self.clock)

    def age(self, unit: str) -> float | None:
        """Return for how many seconds a unit has been active, None where it is not."""
        _, active, _, _, _, since = self.units.get(unit, ("", "", "", "", "", 0))
        return self.clock - since if active == "active" else None


def probe_results(watched: HostProbes, reported: HostAnswer, at: float) -> list[ProbeResult]:
    """Return the signs of one line: of every unit, and of each probe that was run again."""
    found = [_unit(watched.host, service, unit, reported, at) for service, unit in watched.units]
    for service, probe in watched.probes:
        answer = reported.answers.get(probe.name)
        if answer is None or reported.numbers.get(probe.name) == answer[0]:
            continue
        reported.numbers[probe.name] = answer[0]
        found.append(_answer(watched.host, service, probe, answer, at))
    return found


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
    if shown is None or shown[0] == "not-found":
        return Outcome.UNKNOWN, f"systemd does not know {name}", False
    load, active, sub, result, letter, _ = shown
    if active == "active":
        return _running(name, sub, letter)
    if unit.socket and reported.units.get(unit.socket, ("", ""))[1] == "active":
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


def _answer(
    host: str, service: str, probe: HostLivenessProbe, answer: Sequence[Any], at: float
) -> ProbeResult:
    _, ended, said, seconds = answer
    outcome = _LOOKS[ended]
    return ProbeResult(
        subject=Subject(host=host, service=service, name=probe.name),
        outcome=outcome,
        evidence=f"{probe.name}: {said}" if outcome is not Outcome.OK else str(said),
        at=at,
        seconds=seconds if outcome is Outcome.OK else None,
        sure=outcome is Outcome.FAILED,
    )
