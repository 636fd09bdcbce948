"""A service that has died, and one that hangs."""

import time
from collections.abc import Mapping

from backstay_lab.errors import LabError
from backstay_lab.faults import records, units
from backstay_lab.faults.fault import Fault
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

BOUND = 15.0  # seconds until systemd must have noticed what was done to the processes
START_BOUND = 180.0  # seconds that a service may take to start

# A mask in /run does not hide a unit file in /etc; one in system.control comes before both
# (UNIT FILE LOAD PATH in systemd.unit(5)).
MASK = """
systemctl mask --runtime --quiet -- "$1"
if [ "$(systemctl show --property=LoadState --value -- "$1")" != masked ]; then
    mkdir -p /run/systemd/system.control
    ln -sf /dev/null "/run/systemd/system.control/$1"
    systemctl daemon-reload
fi
systemctl kill --kill-whom=all --signal=KILL -- "$1" || true
"""
UNMASK = """
rm -f "/run/systemd/system.control/$1"
systemctl unmask --runtime --quiet -- "$1"
systemctl daemon-reload
systemctl reset-failed -- "$1" 2>/dev/null || true
systemctl start -- "$1"
"""


def _script(host: LabHost, script: str, unit: str, bound: float) -> None:
    host.run(["sh", "-euc", script, "sh", unit], bound=bound)


def _record(lab: Lab, fault: str, target: str) -> Record:
    """Return the record for a unit that runs, or that this fault has broken before."""
    host, unit = units.find(lab, target)
    found = Record(fault=fault, host=host.name, unit=unit.name)
    if not unit.runs and found.key not in {known.key for known in records.read(lab)}:
        raise LabError(
            f"breaking {unit.name} on {host.name}",
            came_back=f"it does not run ({unit.active}, {unit.sub})",
            remedy=f"start it first, or choose a running unit of {host.name}",
        )
    return found


class KillService(Fault):
    """Every process of a unit dies by SIGKILL; a mask keeps systemd from starting it again.

    The mask is a runtime one, so that a reboot of the host ends the fault, as it often does.
    """

    name = "kill-service"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the unit; it must run."""
        return _record(lab, self.name, target)

    def make(self, host: LabHost, record: Record) -> None:
        """Mask, kill, and wait until systemd has noticed."""
        _script(host, MASK, record.unit, bound=60)
        until = time.monotonic() + BOUND
        while self.evidence(host, record) is None and time.monotonic() < until:
            time.sleep(0.2)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that no process is left and the unit is masked."""
        unit = units.show(host, record.unit)
        if unit.load != "masked" or unit.runs or units.processes(host, unit):
            return None
        return f"{unit.name} is {unit.active} and masked, no process of it is left"

    def undo(self, host: LabHost, record: Record) -> str:
        """Unmask and start."""
        if host.power_state() == "off":
            return f"the mask went with {host.name}'s power; it is off"
        _script(host, UNMASK, record.unit, bound=START_BOUND)
        unit = units.show(host, record.unit)
        if not unit.runs:
            raise LabError(
                f"starting {record.unit} on {host.name} again",
                came_back=f"it is {unit.active} ({unit.sub})",
                remedy=f"backstay lab shell {host.name} journalctl -u {record.unit}",
            )
        return f"unmasked and started, it is {unit.active} with process {unit.main_pid}"


class StopService(Fault):
    """A unit ends as if by itself, with exit status 0: systemd leaves it at that.

    As nova-compute does where libvirt does not answer: it is inactive, and not among the failed.
    """

    name = "stop-service"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the unit; it must run."""
        return _record(lab, self.name, target)

    def make(self, host: LabHost, record: Record) -> None:
        """Stop it, and wait until no process is left."""
        host.run(["systemctl", "stop", "--", record.unit], bound=START_BOUND)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it does not run."""
        unit = units.show(host, record.unit)
        if unit.runs or units.processes(host, unit):
            return None
        return f"{unit.name} is {unit.active}, no process of it is left"

    def undo(self, host: LabHost, record: Record) -> str:
        """Start it."""
        if host.power_state() == "off":
            return f"{host.name} is off: whether the unit starts at boot is up to the host"
        host.run(["systemctl", "start", "--", record.unit], bound=START_BOUND)
        return f"{record.unit} is started"


class HangService(Fault):
    """Every process of a unit is stopped: its port takes connections, nothing answers.

    systemd still reports it as active. A unit with a watchdog is killed by it eventually.
    """

    name = "hang-service"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the unit; it must run."""
        return _record(lab, self.name, target)

    def make(self, host: LabHost, record: Record) -> None:
        """Stop all processes, again where one forked meanwhile."""
        until = time.monotonic() + BOUND
        while self.evidence(host, record) is None and time.monotonic() < until:
            self._signal(host, record, "STOP")
            time.sleep(0.1)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return how many processes are stopped; None where one still runs."""
        states = units.processes(host, units.show(host, record.unit))
        alive = {pid: state for pid, state in states.items() if state != "Z"}
        if not alive or set(alive.values()) - {"T", "t"}:
            return None
        return (
            f"all {len(alive)} processes of {record.unit} are stopped, systemd reports it as active"
        )

    def undo(self, host: LabHost, record: Record) -> str:
        """Let all processes continue."""
        if host.power_state() == "off":
            return f"the stopped processes went with {host.name}'s power; it is off"
        unit = units.show(host, record.unit)
        if not unit.group:
            return f"{unit.name} is {unit.active}, it has no processes to continue"
        self._signal(host, record, "CONT")
        states = units.processes(host, unit)
        if "T" in states.values():
            raise LabError(
                f"continuing {record.unit} on {host.name}",
                came_back="some of its processes are still stopped",
                remedy=f"backstay lab heal {self.name} {record.target}",
            )
        return f"{len(states)} processes of {unit.name} continue"

    def _signal(self, host: LabHost, record: Record, signal: str) -> None:
        argv = ["systemctl", "kill", "--kill-whom=all", f"--signal={signal}", "--", record.unit]
        host.run(argv, bound=30)
