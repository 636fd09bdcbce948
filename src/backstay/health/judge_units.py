"""Judge systemd units: which required ones run, and which start at the next boot. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from backstay.commands import quoted
from backstay.finding import Finding, Severity, rank
from backstay.health.observation import HostObservation, UnitState
from backstay.health.remedy import on
from backstay.quantities import ago, lasting
from backstay.services.declaration import Unit
from backstay.transports.targets import SshTarget

# A unit that systemd restarted this often, the last time this recently, is in a restart loop;
# most of a loop's time it looks active. One that has held since for longer is steady.
LOOP_RESTARTS = 3
LOOP_SECONDS = 60.0
SETTLING_SECONDS = 600.0
# A service that has just been started may take this long until it listens.
STARTING_SECONDS = 30.0
# https://www.freedesktop.org/software/systemd/man/latest/systemctl.html#is-enabled%20UNIT%E2%80%A6
_STARTS_AT_BOOT = frozenset(
    ("enabled", "static", "alias", "generated", "indirect", "linked", "transient", "")
)
_NOT_AT_BOOT = {
    "disabled": "will not start at the next boot (disabled)",
    "enabled-runtime": "will not start at the next boot (enabled only until then)",
    "linked-runtime": "will not start at the next boot (linked only until then)",
}


@dataclass(frozen=True, slots=True)
class _Trouble:
    severity: Severity
    evidence: str
    command: str


def judge_unit(
    service: str, unit: Unit, observed: HostObservation, target: SshTarget
) -> Finding | None:
    """Judge one required unit; None where systemd could not be asked at all."""
    if observed.units is None:
        return None
    state = observed.units.get(unit.name) or UnitState(name=unit.name, trouble="it was not asked")
    socket = observed.units.get(unit.socket) if unit.socket else None
    troubles = _troubles(unit, state, socket, observed.listening)
    if not troubles:
        severity, evidence, remedy = Severity.OK, _steady(state, unit), ""
    else:
        troubles.sort(key=lambda trouble: rank(trouble.severity))
        severity = troubles[0].severity
        evidence = "; ".join(trouble.evidence for trouble in troubles)
        if severity is Severity.FAILED:
            evidence = f"{evidence}: {unit.purpose}"
        remedy = on(target, troubles[0].command)
    return Finding(
        host=target.name,
        service=service,
        subject=f"unit {unit.name}",
        severity=severity,
        evidence=evidence,
        remedy=remedy,
    )


def _troubles(
    unit: Unit, state: UnitState, socket: UnitState | None, listening: frozenset[int] | None
) -> list[_Trouble]:
    if state.trouble:
        return [_Trouble(Severity.UNKNOWN, state.trouble, f"systemctl show {state.name}")]
    unusable = _unusable(state)
    if unusable:
        return unusable
    if state.active != "active":
        resting = socket is not None and socket.active == "active" and state.active == "inactive"
        return [] if resting else [_down(state)]
    return [
        *_process(state),
        *_restarting(state),
        *_ports(unit, state, listening),
        *_boot(state, socket),
    ]


def _unusable(state: UnitState) -> list[_Trouble]:
    """Judge what systemd knows of the unit's file."""
    name = state.name
    if state.load == "loaded":
        return []
    if state.load == "masked":
        command = f"systemctl unmask {name} && systemctl start {name}"
        if state.boot == "masked-runtime":
            command = f"systemctl unmask --runtime {name} && systemctl start {name}"
        if state.active == "active":
            evidence = "runs, but is masked: it cannot be started again"
            return [_Trouble(Severity.WARNING, evidence, command)]
        return [_Trouble(Severity.FAILED, f"{_condition(state)} and masked", command)]
    if state.load == "not-found":
        evidence = "not installed: systemd knows no such unit"
        return [_Trouble(Severity.FAILED, evidence, f"systemctl status {name}")]
    evidence = f"systemd cannot load it ({state.load})"
    return [_Trouble(Severity.FAILED, evidence, f"systemctl status {name}")]


def _down(state: UnitState) -> _Trouble:
    """Judge a unit that is not active."""
    name, log = state.name, f"journalctl -u {state.name} -n 50 --no-pager"
    looping = state.sub == "auto-restart" or state.restarts >= LOOP_RESTARTS
    if state.active in {"activating", "reloading"} and not looping:
        evidence = f"still starting {lasting(state.since)}"
        return _Trouble(Severity.WARNING, evidence, log)
    if state.active == "activating":
        evidence = f"restart loop: restarted {state.restarts} times, is {state.sub} now"
        return _Trouble(Severity.FAILED, evidence, log)
    if state.active == "failed":
        return _Trouble(Severity.FAILED, _condition(state), f"systemctl restart {name}; {log}")
    start = "enable --now" if state.boot == "disabled" else "start"
    return _Trouble(Severity.FAILED, _condition(state), f"systemctl {start} {name}")


def _process(state: UnitState) -> list[_Trouble]:
    """Judge the processes of an active unit."""
    name = state.name
    if state.sub == "exited":
        evidence = "active, but its process has ended"
        return [_Trouble(Severity.FAILED, evidence, f"systemctl restart {name}")]
    if state.main_pid and not state.processes:
        evidence = f"active, but its main process {state.main_pid} is gone"
        return [_Trouble(Severity.FAILED, evidence, f"systemctl restart {name}")]
    main, rest = state.processes[:1], state.processes[1:]
    if main == "T" or "T" in rest:
        count = state.processes.count("T")
        evidence = f"hung: {count} of {len(state.processes)} processes stopped by a signal"
        severity = Severity.FAILED if main == "T" or set(rest) == {"T"} else Severity.WARNING
        return [_Trouble(severity, evidence, f"systemctl kill -s CONT {quoted(name)}")]
    if main == "Z":
        evidence = "its main process is a zombie"
        return [_Trouble(Severity.FAILED, evidence, f"systemctl restart {name}")]
    if main == "D":
        evidence = "its main process waits for a disk that does not answer"
        return [_Trouble(Severity.WARNING, evidence, "dmesg --level=err,warn --ctime")]
    return []


def _restarting(state: UnitState) -> list[_Trouble]:
    if state.restarts < LOOP_RESTARTS or state.since is None or state.since >= SETTLING_SECONDS:
        return []
    log = f"journalctl -u {state.name} -n 100 --no-pager"
    last = f"restarted {state.restarts} times, the last time {ago(state.since)}"
    if state.since < LOOP_SECONDS:
        return [_Trouble(Severity.FAILED, f"restart loop: {last}", log)]
    return [_Trouble(Severity.WARNING, f"{last}: check again whether it stays up", log)]


def _ports(unit: Unit, state: UnitState, listening: frozenset[int] | None) -> list[_Trouble]:
    closed = [port for port in unit.ports if listening is not None and port not in listening]
    if not closed:
        return []
    starting = state.since is not None and state.since < STARTING_SECONDS
    severity = Severity.WARNING if starting else Severity.FAILED
    since = f", started {ago(state.since)}" if starting else ""
    evidence = f"runs{since}, but nothing listens on port {', '.join(map(str, closed))}"
    return [_Trouble(severity, evidence, f"journalctl -u {unit.name} -n 50 --no-pager")]


def _boot(state: UnitState, socket: UnitState | None) -> list[_Trouble]:
    if state.boot in _STARTS_AT_BOOT or (socket and socket.boot in _STARTS_AT_BOOT - {""}):
        return []
    evidence = _NOT_AT_BOOT.get(
        state.boot, f"will perhaps not start at the next boot ({state.boot})"
    )
    return [_Trouble(Severity.WARNING, f"runs, but {evidence}", f"systemctl enable {state.name}")]


def _condition(state: UnitState) -> str:
    """Return in which way and since when a unit is not running."""
    words = {"inactive": "not running", "failed": "failed", "deactivating": "stopping"}
    why = ""
    if state.result not in {"success", ""}:
        status = f" {state.exit_status}" if state.exit_status else ""
        why = f" ({state.result}{status})"
    since = f", stopped {ago(state.since)}" if state.since is not None else ""
    return f"{words.get(state.active, state.active)}{why}{since}"


def _steady(state: UnitState, unit: Unit) -> str:
    if state.active != "active":
        return f"rests until {unit.socket} is asked"
    ports = f", port {', '.join(map(str, unit.ports))}" if unit.ports else ""
    restarts = f", restarted {state.restarts} times before" if state.restarts else ""
    return f"running {lasting(state.since)}{ports}{restarts}"


def unknown_units(units: Sequence[Unit], observed: HostObservation, target: SshTarget) -> Finding:
    """Return the one finding for all units where systemd could not be asked."""
    names = ", ".join(unit.name for unit in units) or "none required"
    trouble = observed.troubles.get("units", "no answer")
    return Finding(
        host=target.name,
        service="systemd",
        subject="units",
        severity=Severity.UNKNOWN,
        evidence=f"systemd does not answer ({trouble}), so nothing is known of: {names}",
        remedy=on(target, "systemctl is-system-running"),
    )
