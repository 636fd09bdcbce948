"""Judge systemd units: which required ones run, and which start at the next boot. Pure."""

import re
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """What is seen to work without systemd: services by their APIs, a host's agents and probes.

    ``services`` are names of services, ``agents`` are binaries, ``probes`` are the services whose
    own questions on the host were answered well.
    """

    services: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    probes: frozenset[str] = frozenset()


NOTHING_KNOWN = Works()


def judge_unit(
    service: str,
    unit: Unit,
    observed: HostObservation,
    target: SshTarget,
    works: Works = NOTHING_KNOWN,
) -> Finding | None:
    """Judge one unit; None where systemd could not be asked, or it need not be there and is not.

    One that systemd does not know while its work is done has another name there: that is no
    failure of the cloud.
    """
    if observed.units is None:
        return None
    known = observed.units.get(unit.name) or observed.others.get(unit.name)
    state = known or UnitState(name=unit.name, trouble="it was not asked")
    if state.load == "not-found" and not state.trouble:
        if unit.if_found:
            return None
        if (stranger := _by_another_name(service, unit, observed, target, works)) is not None:
            return stranger
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


def is_there(unit: Unit, observed: HostObservation) -> bool:
    """Return whether a host has a unit that is meant to run: it runs, did, or starts at boot."""
    state = (observed.units or {}).get(unit.name) or observed.others.get(unit.name)
    if state is None or state.trouble or state.load in {"not-found", "masked", ""}:
        return False
    return state.active != "inactive" or state.boot in {"enabled", "enabled-runtime"}


def _by_another_name(
    service: str, unit: Unit, observed: HostObservation, target: SshTarget, works: Works
) -> Finding | None:
    """Return the finding for a unit of another name; None where nothing of its work is seen."""
    seen = []
    if unit.agent and unit.agent in works.agents:
        seen.append("its agent reports")
    if unit.ports and observed.listening is not None and observed.listening.issuperset(unit.ports):
        seen.append(f"port {', '.join(map(str, unit.ports))} is served")
    if service in works.probes:
        seen.append(f"{service} answers on this host")
    elif service in works.services:
        seen.append(f"the API of {service} answers")
    like = _like(unit.name, observed.running)
    if not seen and not like:
        return None
    running = f"; running here: {', '.join(like)}" if like else ""
    but = f", but {' and '.join(seen)}" if seen else ""
    return Finding(
        host=target.name,
        service=service,
        subject=f"unit {unit.name}",
        severity=Severity.WARNING if seen else Severity.UNKNOWN,
        evidence=f"not known to Backstay: systemd has no unit of this name{but}{running}: "
        "which units are these?",
        remedy=on(target, _LIST_RUNNING)
        + "; Backstay knows units by the names of Debian's packages, others it cannot watch",
    )


_LIST_RUNNING = "systemctl list-units --type=service --state=running --no-pager"
_SERVERS = frozenset(("apache2", "httpd", "nginx", "uwsgi", "gunicorn"))
"""Units in which APIs of several services may run."""


def _like(name: str, running: Sequence[str], limit: int = 4) -> list[str]:
    """Return the running units that may do what ``name`` does, the likeliest first."""
    wanted = _parts(name)
    first = re.split(r"[-_@.]", name)[0]
    scored = [
        (-len(wanted & _parts(one)), one)
        for one in running
        if one != name and (first in _parts(one) or one in _SERVERS)
    ]
    return [one for _, one in sorted(scored)[:limit]]


def _parts(name: str) -> set[str]:
    return set(re.split(r"[-_@.]", name))


MOST_STRANGERS = 8


def together(findings: Sequence[Finding], target: SshTarget) -> list[Finding]:
    """Return a host's findings with one for all units of other names, where there are many."""
    strangers = [one for one in findings if "not known to Backstay: systemd" in one.evidence]
    if len(strangers) <= MOST_STRANGERS:
        return list(findings)
    names = ", ".join(one.subject.removeprefix("unit ") for one in strangers)
    works = any(one.severity is Severity.WARNING for one in strangers)
    one = Finding(
        host=target.name,
        service="systemd",
        subject="unit names",
        severity=Severity.WARNING if works else Severity.UNKNOWN,
        evidence=f"{len(strangers)} units are not known to Backstay: systemd has none of these "
        f"names, but their work is done: which units are these? {names}",
        remedy=on(target, _LIST_RUNNING)
        + "; Backstay knows units by the names of Debian's packages, others it cannot watch",
    )
    return [*(each for each in findings if each not in strangers), one]


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
