"""A host's disk: read-only layers below, and above them a file system of limited size.

``disk.img`` in the host's folder is a sparse file with ext4 on it: filling the host fills that and
never the machine. ``layers.json`` lists what lies below, uppermost first. Mounted::

    HOST/disk     disk.img, with ``upper`` and ``work`` on it
    HOST/built    the built disk (read-only), where the host starts as a copy of one
    HOST/root     the overlay: the host's root
"""

import json
import os
from pathlib import Path

from backstay_lab import programs

DISK_SIZE = 8 * 1024**3
# No journal and no barriers: a lab disk need not survive a crash of the machine, only of the
# host, and its writes are safe in the machine's memory then. This halves the time of a build.
MOUNT_OPTIONS = "loop,noatime,nodiscard,barrier=0"
OVERLAY_OPTIONS = "index=off,redirect_dir=off,metacopy=off"


def create(folder: Path, lowers: list[Path], built: Path | None = None) -> None:
    """Make a host's new, empty disk over layers (uppermost first) and, where given, a built disk.

    What was on the host's disk before is lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image, part = folder / "disk.img", folder / "disk.part"
    part.unlink(missing_ok=True)
    with part.open("wb") as file:
        os.truncate(file.fileno(), DISK_SIZE)
    programs.run(
        [
            "mkfs.ext4",
            "-q",
            "-F",
            "-m",
            "0",
            "-O",
            "^has_journal",
            "-E",
            "lazy_itable_init=1,nodiscard",
            str(part),
        ],
        attempted=f"making the disk {image}",
    )
    below = {"built": str(built) if built else None, "lowers": [str(path) for path in lowers]}
    (folder / "layers.json").write_text(json.dumps(below, indent=1))
    part.rename(image)


def mount(folder: Path) -> None:
    """Mount a host's disk where it is not mounted; safe to repeat after an interruption."""
    root, upper_disk, built_disk = folder / "root", folder / "disk", folder / "built"
    if root.is_mount():
        return
    for point in (root, upper_disk, built_disk):
        point.mkdir(exist_ok=True)
    below = json.loads((folder / "layers.json").read_text())
    lowers = [str(path) for path in below["lowers"]]
    if not upper_disk.is_mount():
        _mount("-o", MOUNT_OPTIONS, str(folder / "disk.img"), str(upper_disk))
    if below["built"]:
        if not built_disk.is_mount():
            _mount("-o", "loop,ro,noatime", str(below["built"]), str(built_disk))
        lowers.insert(0, f"{built_disk}/upper")
    upper, work = upper_disk / "upper", upper_disk / "work"
    for point in (upper, work):
        point.mkdir(exist_ok=True)
    layers = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work},{OVERLAY_OPTIONS}"
    _mount("-t", "overlay", "-o", layers, f"backstay-{folder.name}", str(root))


def _mount(*arguments: str) -> None:
    programs.run(["mount", *arguments], attempted=f"mounting {arguments[-1]}")


def mounts_below(folder: Path, mountinfo: str) -> list[Path]:
    """Return the mount points at or below a folder from proc_pid_mountinfo(5), innermost first."""
    points = []
    for line in mountinfo.splitlines():
        # a space in a name is written as \\040 there
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(folder):
            points.append(point)
    return points[::-1]


def unmount_all(folder: Path) -> list[Path]:
    """Unmount everything at or below a folder; give what is still mounted (busy)."""
    mountinfo = Path("/proc/self/mountinfo")
    for point in mounts_below(folder, mountinfo.read_text()):
        programs.run(["umount", str(point)], attempted=f"unmounting {point}", check=False)
    left = mounts_below(folder, mountinfo.read_text())
    if not left:
        free_loops(folder)  # those that an interrupted mount left; others free themselves
    return left


def loops_below(folder: Path, listing: str) -> list[str]:
    """Return the loop devices with a file below a folder, from ``losetup --json``."""
    devices = json.loads(listing)["loopdevices"] if listing.strip() else []
    return [
        device["name"]
        for device in devices
        if Path(str(device["back-file"]).removesuffix(" (deleted)")).is_relative_to(folder)
    ]


def attached(path: Path) -> list[str]:
    """Return the loop devices of a file, or of the files below a folder."""
    listing = programs.run(
        ["losetup", "--list", "--json", "--output", "NAME,BACK-FILE"], attempted="listing loops"
    )
    return loops_below(path, listing.stdout)


def free_loops(path: Path) -> None:
    """Free the loop devices of a file or folder that nothing has mounted any more."""
    for device in attached(path):
        programs.run(["losetup", "-d", device], attempted=f"freeing {device}", check=False)
