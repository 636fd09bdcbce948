"""A host whose disk is full."""

from collections.abc import Mapping

from backstay_lab.errors import LabError
from backstay_lab.faults.fault import Fault, refuse_unless_on
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

FILE = "/var/backstay-lab-fill"
FULL = 99  # percent from which the file system counts as full

# Most of it is reserved, not written, and so takes nothing of the machine's disk; what is left
# between reserving and full is written.
FILL = f"""
free() {{ df --output=avail --block-size=1 / | tail -n 1; }}
i=0
while [ "$(free)" -gt 1048576 ] && [ $i -lt 20 ]; do
    i=$((i + 1))
    fallocate --length "$(($(free) - 262144))" "{FILE}.$i" || break
done
sync -f /
for end in 1 2 3; do
    dd if=/dev/zero of="{FILE}.end$end" bs=4K count=8192 conv=fsync 2>/dev/null || true
done
"""


def used_percent(df: str) -> int:
    """Return the share in use from ``df --output=pcent /``."""
    return int(df.rsplit(maxsplit=1)[-1].removesuffix("%"))


class FillDisk(Fault):
    """A host's root file system is filled up. It is limited in size: the machine's is not."""

    name = "fill-disk"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host; its disk must be a file system of its own."""
        host = LabHost(lab, target)
        refuse_unless_on(host, f"filling the disk of {host.name}")
        if not (host.folder / "disk").is_mount():
            raise LabError(
                f"filling the disk of {host.name}",
                came_back="its disk is not a file system of its own: the machine would fill up",
                remedy="backstay lab down, then lab up",
            )
        return Record(fault=self.name, host=host.name)

    def make(self, host: LabHost, record: Record) -> None:
        """Fill it with marked files."""
        host.script(FILL, bound=300)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return how full it is; None below FULL percent, or where the files are not there."""
        if host.power_state() == "off":
            return None
        script = f"ls {FILE}.* >/dev/null 2>&1 && df --output=pcent / || true"
        output = host.script(script).stdout
        if not output or used_percent(output) < FULL:
            return None
        return f"its root file system is {used_percent(output)} % full ({FILE}.*)"

    def undo(self, host: LabHost, record: Record) -> str:
        """Remove the files. A host that is off has to be powered on first."""
        refuse_unless_on(host, f"removing {FILE}.* from {host.name}")
        output = host.script(f"rm -f {FILE}.*; df --output=pcent /").stdout
        return f"removed {FILE}.*, its root file system is {used_percent(output)} % full"
