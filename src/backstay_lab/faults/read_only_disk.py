"""A host whose root file system the kernel has remounted to be read only, as after an error."""

from collections.abc import Mapping

from backstay_lab.errors import LabError
from backstay_lab.faults.fault import Fault, refuse_unless_on
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

# Files that are open for writing keep a remount from it, so the kernel is asked to do what it does
# after an error: emergency remounts are for the machine as a whole; a bind mount is not.
MAKE = "mount -o remount,bind,ro /"
UNDO = "mount -o remount,bind,rw /"
OPTIONS = "findmnt --noheadings --output VFS-OPTIONS --target / | tail -n 1"


class ReadOnlyDisk(Fault):
    """A host's root is mounted to be read only: programs run on, and can write nothing to it."""

    name = "read-only-disk"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host; its disk must be a file system of its own."""
        host = LabHost(lab, target)
        refuse_unless_on(host, f"mounting the disk of {host.name} to be read only")
        if not (host.folder / "disk").is_mount():
            raise LabError(
                f"mounting the disk of {host.name} to be read only",
                came_back="its disk is not a file system of its own",
                remedy="backstay lab down, then lab up",
            )
        return Record(fault=self.name, host=host.name)

    def make(self, host: LabHost, record: Record) -> None:
        """Remount it."""
        host.script(MAKE)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that nothing can be written."""
        if host.power_state() == "off":
            return None
        options = host.script(OPTIONS).stdout.strip().split(",")
        return "its root is mounted to be read only" if "ro" in options else None

    def undo(self, host: LabHost, record: Record) -> str:
        """Remount it to be written again; a host that was off has mounted it so."""
        refuse_unless_on(host, f"mounting the disk of {host.name} to be written")
        host.script(UNDO)
        return "its root can be written again"
