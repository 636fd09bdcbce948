"""A host whose disk is full, or has turned read-only."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from backstay_lab import programs
from backstay_lab.disk import attached, free_loops
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


DATA_SIZE = 64 * 1024**2
MOUNT = "/srv/node/d3"
"""Where the disk is mounted: on the storage host over one of swift's folders."""


class ReadOnlyDisk(Fault):
    """A data disk whose file system the kernel has made read-only after an error.

    The host gets a disk for it, and the kernel's own error is triggered:
    https://docs.kernel.org/admin-guide/ext4.html. Its root would not do, which is an overlay.
    """

    name = "read-only-disk"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host."""
        host = LabHost(lab, target)
        refuse_unless_on(host, f"giving {host.name} a disk")
        return Record(fault=self.name, host=host.name)

    def make(self, host: LabHost, record: Record) -> None:
        """Give it a disk, mount that and trigger an error of its file system."""
        device = next(iter(attached(_image(host))), "") or _new_device(host)
        number = os.minor(Path(device).stat().st_rdev)
        host.script(
            f"[ -e {device} ] || mknod {device} b 7 {number}; mkdir -p {MOUNT}\n"
            f"mountpoint -q {MOUNT} || mount -t ext4 -o errors=remount-ro {device} {MOUNT}"
        )
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        trigger.write_text("by the lab\n")

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it takes no file; None where it does, or where it is not there."""
        if host.power_state() == "off":
            return None
        tried = f"mountpoint -q {MOUNT} && ! touch {MOUNT}/x 2>/dev/null && echo read-only || true"
        if not host.script(tried).stdout:
            return None
        return f"{MOUNT} is a disk that has turned read-only after an error"

    def undo(self, host: LabHost, record: Record) -> str:
        """Take the disk out. A host that is off has let go of it."""
        if host.power_state() == "on":
            refuse_unless_on(host, f"unmounting {MOUNT} on {host.name}")
            host.script(f"! mountpoint -q {MOUNT} || umount --lazy {MOUNT}")
        free_loops(_image(host))
        with contextlib.suppress(FileNotFoundError):
            _image(host).unlink()
        return f"took the disk at {MOUNT} out"


def _image(host: LabHost) -> Path:
    return host.folder / "data.img"


def _new_device(host: LabHost) -> str:
    image = _image(host)
    with image.open("wb") as file:
        os.truncate(file.fileno(), DATA_SIZE)
    programs.run(["mkfs.ext4", "-q", "-F", str(image)], attempted=f"making the disk {image}")
    made = programs.run(["losetup", "--find", "--show", str(image)], attempted="attaching a disk")
    return made.stdout.strip()
