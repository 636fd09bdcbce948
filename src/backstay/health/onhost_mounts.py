"""Which file systems a host has, and which are not as they should be.

Sent as text: standard library, Python 3.6.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What is not here is no storage, or not this host's: df --local leaves out much the same.
REAL_FILE_SYSTEMS = frozenset(
    (
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "jfs",
        "reiserfs",
        "vfat",
        "nfs",
        "nfs4",
        "cifs",
        "ceph",
        "glusterfs",
        "fuse.glusterfs",
        "ocfs2",
        "gfs2",
        "bcachefs",
    )
)


def mounts(text: str) -> list[str]:
    """Return the mount points of real file systems, each device once, from /proc/self/mounts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        device, mount, kind, options = line.split()[:4]
        real = kind in REAL_FILE_SYSTEMS and not mount.startswith(
            ("/proc", "/sys", "/dev/", "/run/")
        )
        volatile = kind == "tmpfs" and mount in ("/run", "/tmp")  # noqa: S108 - full ones hurt
        root = mount == "/" and kind != "rootfs"
        read_only = "ro" in options.split(",")
        if root or (not read_only and (real or volatile)):
            key = mount if volatile or root else device
            found.setdefault(key, mount.replace("\\040", " "))
    return sorted(set(found.values()))


def wrong_mounts() -> list[list[str]]:
    """Return the file systems that are not as they should be: mount point, trouble, what it is.

    The trouble is ``turned`` (read-only since it was mounted for writing: the kernel does that
    after an error), ``read-only`` (though /etc/fstab wants it written to), ``missing`` (though
    /etc/fstab wants it there) or ``absent`` (the same, where fstab says that it may fail).
    """
    text = Path("/proc/self/mountinfo").read_text(errors="replace")
    try:
        table = Path("/etc/fstab").read_text(errors="replace")
    except OSError:
        table = ""  # cloud images and containers often have none
    contained = any(os.path.exists(one) for one in CONTAINER_MARKS)  # noqa: PTH110 - as short
    return compare_mounts(text, table, contained, os.path.realpath)


# Written by systemd, Docker and podman: https://systemd.io/CONTAINER_INTERFACE/
CONTAINER_MARKS = ("/run/systemd/container", "/.dockerenv", "/run/.containerenv")
DEVICES = ("/dev/", "LABEL=", "UUID=", "PARTLABEL=", "PARTUUID=", "ID=")
# ext4 no longer calls itself read-only after an error (Linux 6.15), but shows these.
TURNED = {"ro", "emergency_ro", "shutdown"}


def compare_mounts(
    mountinfo: str, fstab: str, contained: bool, real: Callable[[str], str]
) -> list[list[str]]:
    """Return what ``wrong_mounts`` returns, from the texts of both files. Pure but for ``real``.

    ``real`` follows links: fstab may name a mount point by one. In a container (``contained``)
    devices in fstab are not its own: systemd passes over them as well,
    https://github.com/systemd/systemd/blob/main/src/fstab-generator/fstab-generator.c
    """
    mounted = mounts_of(mountinfo)
    found: dict[str, list[str]] = {}
    devices = set()
    for mount, (device, kind, options, general) in mounted.items():
        if kind in REAL_FILE_SYSTEMS and "rw" in options and TURNED & general:
            if device not in devices:  # of one with many mount points the first is enough
                found[mount] = [mount, "turned", kind]
            devices.add(device)
    for source, mount, kind, options in entries_of(fstab):
        foreign = contained and source.startswith(DEVICES)
        there = mounted.get(mount) or mounted.get(real(mount))
        optional = options & {"nofail", "x-systemd.automount", "user", "users"}
        if foreign and (there is None or mount == "/"):
            continue
        if there is None:
            if kind in REAL_FILE_SYSTEMS or kind == "auto" or options & {"bind", "rbind"}:
                found[mount] = [mount, "absent" if optional else "missing", source]
        elif (
            there[1] in REAL_FILE_SYSTEMS
            and "ro" in there[2]
            and not options & {"ro", "bind", "rbind"}
        ):
            found[mount] = [mount, "read-only", source]
    return list(found.values())


def mounts_of(text: str) -> dict[str, Any]:
    """Return device, kind, own and general options of what is mounted, by mount point.

    https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html. Of several at one point the
    last one is seen.
    """
    found = {}
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        own, general = fields.split(), rest.split()
        if len(own) >= 6 and len(general) >= 3:
            options, both = set(own[5].split(",")), set(general[2].split(","))
            found[unescaped(own[4])] = (own[2], general[0], options, both)
    return found


def entries_of(text: str) -> list[Any]:
    """Return source, mount point, kind and options of what fstab wants mounted at each start."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        source, mount, kind = fields[:3]
        options = (fields[3] if len(fields) > 3 else "defaults").split(",")
        for later, earlier in (("rw", "ro"), ("ro", "rw")):  # the last one counts
            if later in options and earlier in options[: options.index(later)]:
                options = [one for one in options if one != earlier]
        if not mount.startswith("/") or kind == "swap" or "noauto" in options:
            continue
        mount = unescaped(mount)
        found.append((unescaped(source), mount.rstrip("/") or "/", kind, set(options)))
    return found


def unescaped(text: str) -> str:
    """Return a field of mountinfo or fstab with its blanks, tabs and backslashes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
