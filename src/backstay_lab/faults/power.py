"""A host without power, with a dead board, and one that hangs as a whole."""

import time
from collections.abc import Mapping

from backstay_lab import cgroups, disk
from backstay_lab.bmc.power import ALWAYS_OFF, policy
from backstay_lab.errors import LabError
from backstay_lab.faults.fault import Fault, NoUndo, refuse_unless_on
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

BOOT_BOUND = 60.0  # seconds until a host's systemd answers after power-on


class PowerOff(Fault):
    """The plug is pulled: every process of the host is gone at once, nothing is written back."""

    name = "power-off"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host; one with a dead board has no power to lose."""
        host = LabHost(lab, target)
        if host.dead_board.exists():
            raise LabError(
                f"powering off {host.name}",
                came_back="its board is dead, it is off already",
                remedy="choose another host",
            )
        return Record(fault=self.name, host=host.name)

    def make(self, host: LabHost, record: Record) -> None:
        """Take its power."""
        host.power_off(hard=True)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it is off; with a dead board that is another fault."""
        if host.power_state() == "on" or host.dead_board.exists():
            return None
        return "it has no power, nothing of it runs"

    def undo(self, host: LabHost, record: Record) -> str:
        """Power it on and wait until its systemd answers; services start after that.

        A board that is set to stay off when the mains come back does so: raises NoUndo.
        """
        if host.power_state() == "off" and policy(host.restore_policy) == ALWAYS_OFF:
            raise NoUndo(
                f"healing {self.name} of {host.name}",
                came_back="the mains are back, and its board is set to keep it off",
                remedy=f"power it on by its board, then: backstay lab heal {self.name} {host.name}",
            )
        host.power_on()
        _await_systemd(host)
        return "powered on, its services are starting"


class DeadBoard(Fault):
    """The host is off for good: its disk is destroyed, its board controller cannot power it on."""

    name = "dead-board"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host."""
        return Record(fault=self.name, host=LabHost(lab, target).name)

    def make(self, host: LabHost, record: Record) -> None:
        """Mark the board first, so that nothing powers the host on again half-way."""
        host.dead_board.touch()
        host.power_off(hard=True)
        left = disk.unmount_all(host.folder)
        if left:
            raise LabError(
                f"taking the disk out of {host.name}",
                came_back=f"{left[0]} is in use",
                remedy="end what uses it (fuser -vm), then repeat the command",
            )
        host.disk_image.unlink(missing_ok=True)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that the host is off, without a disk, and stays so."""
        if host.power_state() == "on" or host.disk_image.exists() or not host.dead_board.exists():
            return None
        return "it is off, its disk is gone, and its board controller cannot power it on"

    def undo(self, host: LabHost, record: Record) -> str:
        """Refuse: the disk's content is lost, as with real hardware."""
        raise NoUndo(
            f"healing {self.name} of {host.name}",
            came_back="a dead board has no undo, its disk is destroyed",
            remedy=f"backstay lab new-board {host.name}: as first built, without what was since",
        )


class Freeze(Fault):
    """The host hangs: it answers ping and takes connections, and does nothing."""

    name = "freeze"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host; it must be on."""
        host = LabHost(lab, target)
        if not cgroups.is_frozen(host.cgroup):
            refuse_unless_on(host, f"freezing {host.name}")
        return Record(fault=self.name, host=host.name)

    def make(self, host: LabHost, record: Record) -> None:
        """Freeze all its processes."""
        cgroups.freeze(host.cgroup)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it is on and frozen."""
        if host.power_state() == "on" and cgroups.is_frozen(host.cgroup):
            return "it has power, answers ping, and none of its processes runs"
        return None

    def undo(self, host: LabHost, record: Record) -> str:
        """Thaw it; one that was powered off meanwhile is not frozen any more."""
        if host.power_state() == "off":
            return f"{host.name} is off, and will not be frozen when it is powered on"
        if not cgroups.thaw(host.cgroup):
            raise LabError(
                f"thawing {host.name}",
                came_back="some of its processes stay frozen",
                remedy=f"power it off and on: backstay lab break power-off {host.name}, lab heal",
            )
        return "thawed, its processes go on"


def _await_systemd(host: LabHost) -> None:
    """Wait until the host's systemd takes questions, so that other faults can be healed next."""
    until = time.monotonic() + BOOT_BOUND
    while time.monotonic() < until:
        asked = host.run(["systemctl", "show", "--property=Version"], bound=30, check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.2)
    raise LabError(
        f"powering on {host.name}",
        came_back=f"its systemd does not answer after {BOOT_BOUND:.0f} s",
        remedy=f"read {host.folder / 'console.log'}",
    )
