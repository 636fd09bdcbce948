"""Which unit on which host the operator means, and its state in systemd."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay_lab import cgroups
from backstay_lab.errors import LabError
from backstay_lab.faults.fault import refuse_unless_on
from backstay_lab.hosts import LabHost, all_hosts
from backstay_lab.layout import Lab

PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,ControlGroup"
SUFFIXES = (".service", ".socket", ".timer", ".mount", ".path", ".target")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd reports it; ``group`` is its control group, empty while it does not run."""

    name: str
    load: str
    active: str
    sub: str
    main_pid: int
    group: str

    @property
    def runs(self) -> bool:
        """Whether it has been started."""
        return self.active in ("active", "reloading", "activating", "deactivating")


def parse_unit(shown: str) -> Unit:
    """Return the unit that ``systemctl show --property=PROPERTIES`` describes."""
    value = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return Unit(
        name=value["Id"],
        load=value["LoadState"],
        active=value["ActiveState"],
        sub=value["SubState"],
        main_pid=int(value.get("MainPID") or 0),
        group=value.get("ControlGroup", ""),
    )


def processes_of(group: str, listing: str) -> dict[int, str]:
    """Return process id -> state letter of all processes in a control group or below it.

    ``listing`` has the lines ``/proc/PID/cgroup:ID:CONTROLLER:PATH`` and
    ``/proc/PID/status:State:<tab>S (sleeping)`` as LISTING prints them.
    """
    members: set[int] = set()
    states: dict[int, str] = {}
    for line in listing.splitlines():
        file, _, text = line.partition(":")
        _, _, pid, what = file.split("/")
        if what == "cgroup":
            path = text.split(":", 2)[2]
            if path == group or path.startswith(f"{group}/"):
                members.add(int(pid))
        elif text.startswith("State:"):
            states[int(pid)] = text.split()[1]
    return {pid: states[pid] for pid in sorted(members) if pid in states}


# A process that ends while it is listed is no failure, and is one to grep.
LISTING = """
grep -sH . /proc/[0-9]*/cgroup || true
grep -sH '^State:' /proc/[0-9]*/status || true
"""


def show(host: LabHost, unit: str) -> Unit:
    """Ask a host's systemd for a unit; one that it does not know has ``load`` ``not-found``."""
    asked = host.run(["systemctl", "show", f"--property={PROPERTIES}", "--", unit], bound=30)
    return parse_unit(asked.stdout)


def running(host: LabHost, unit: str, attempted: str) -> Unit:
    """Return a unit that runs. Raises LabError where the host is off or the unit does not run."""
    refuse_unless_on(host, attempted)
    shown = show(host, unit)
    if not shown.runs:
        raise LabError(
            attempted,
            came_back=f"{unit} is {shown.load}, {shown.active} on {host.name}",
            remedy=f"name the host that it runs on, and start it there: systemctl start {unit}",
        )
    return shown


def processes(host: LabHost, unit: Unit) -> dict[int, str]:
    """Return process id (as the host counts) -> state of all processes of a unit."""
    if not unit.group:
        return {}
    return processes_of(unit.group, host.script(LISTING, bound=30).stdout)


def full_name(unit: str) -> str:
    """Return a unit's name with its type: ``nova-api`` is ``nova-api.service``."""
    return unit if unit.endswith(SUFFIXES) else f"{unit}.service"


def find(lab: Lab, target: str) -> tuple[LabHost, Unit]:
    """Return the host and the unit meant by ``HOST/UNIT`` or, where only one host has it, ``UNIT``.

    Raises LabError with the candidates where nothing or more than one thing fits.
    """
    host_name, _, unit_name = target.rpartition("/")
    name = full_name(unit_name)
    if host_name:
        host = LabHost(lab, host_name)
        refuse_unless_on(host, f"finding unit {name} on {host_name}")
        return host, _known(host, show(host, name), unit_name)
    asked = [host for host in all_hosts(lab) if _answers(host)]
    found = {host.name: show(host, name) for host in asked}
    chosen = choose(unit_name, found)
    if chosen:
        return LabHost(lab, chosen), found[chosen]
    raise _unknown(
        unit_name, "no running host has", [name for host in asked for name in names(host)]
    )


def choose(unit: str, found: Mapping[str, Unit]) -> str | None:
    """Return the one host that has the unit: the one that runs it, else the one that knows it.

    None where no host has it. Raises LabError where more than one does.
    """
    having = [host for host, unit_there in found.items() if unit_there.load != "not-found"]
    running = [host for host in having if found[host].runs]
    candidates = running or having
    if len(candidates) > 1:
        raise LabError(
            f"finding the host of unit {unit}",
            came_back=f"{', '.join(candidates)} have it",
            remedy=f"name the host: one of {', '.join(f'{host}/{unit}' for host in candidates)}",
        )
    return candidates[0] if candidates else None


def names(host: LabHost) -> list[str]:
    """Return the names of all services that a host's systemd knows."""
    script = """
    systemctl list-unit-files --no-legend --plain --type=service
    systemctl list-units --all --no-legend --plain --type=service
    """
    lines = host.script(script, bound=30).stdout.splitlines()
    return sorted({line.split()[0] for line in lines if line.strip()})


def _answers(host: LabHost) -> bool:
    return host.power_state() == "on" and not cgroups.is_frozen(host.cgroup)


def _known(host: LabHost, unit: Unit, typed: str) -> Unit:
    if unit.load == "not-found":
        raise _unknown(typed, f"{host.name} does not have", names(host))
    return unit


def _unknown(typed: str, has_not: str, known: Sequence[str]) -> LabError:
    short = sorted({name.removesuffix(".service") for name in known if "@." not in name})
    return LabError(
        f"finding unit {typed}",
        came_back=f"{has_not} a unit of that name",
        remedy=similar(typed, short),
    )


def similar(typed: str, known: Sequence[str]) -> str:
    """Return a remedy that names what was probably meant."""
    close = difflib.get_close_matches(typed.removesuffix(".service"), known, n=4, cutoff=0.5)
    close += [name for name in known if typed in name and name not in close][:4]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "list the units: backstay lab shell HOST systemctl list-units --type=service"
