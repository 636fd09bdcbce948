"""Whether this machine can host a lab: what is missing, each with the command that fixes it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backstay_lab import programs
from backstay_lab.errors import LabError
from backstay_lab.layout import home

# program -> the Debian package that has it
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
    "nsenter": "util-linux",
    "ssh-keygen": "openssh-client",
}
DISK_NEEDED = 25 * 1024**3
MEMORY_NEEDED = 10 * 1024**3
BARE_DISK_NEEDED = 4 * 1024**3
BARE_MEMORY_NEEDED = 1024**3


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of the machine. Sizes in bytes; ``kernel``: what was tried and refused."""

    root: bool
    os_ids: frozenset[str]
    programs: Mapping[str, bool]
    kernel: tuple[str, ...]
    disk_free: int
    memory_free: int


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that the machine lacks, and what to do about it."""

    what: str
    remedy: str


# Each is tried in namespaces of its own, so that nothing of the machine is touched.
ATTEMPTS = {
    "network namespaces with bridges and veth pairs": """
        exec unshare --net sh -euc 'ip link add probe0 type bridge; ip link add probe1 type veth \
        peer name probe2'""",
    "nftables with address translation": """
        exec unshare --net nft 'table ip probe { chain c { type nat hook postrouting priority 100;
        oifname "lo" masquerade; }; }'""",
    "overlay file systems": """
        exec unshare --mount --propagation=private sh -euc 'mount -t tmpfs probe /mnt;
        mkdir /mnt/l /mnt/u /mnt/w /mnt/m;
        mount -t overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w probe /mnt/m'""",
    "loop devices": "losetup --find",
    "process id, mount and uts namespaces": "exec unshare --pid --fork --mount --uts --ipc true",
    "writable control groups": """
        for root in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
        if [ -e $root/cgroup.procs ]; then
        mkdir -p $root/backstay-lab-probe; exec rmdir $root/backstay-lab-probe; fi; done; exit 1""",
}


def read() -> Facts:
    """Read the machine. Needs no rights; without root the kernel's features are not tried."""
    root = os.geteuid() == 0
    present = {program: shutil.which(program) is not None for program in PROGRAMS}
    return Facts(
        root=root,
        os_ids=_os_ids(),
        programs=present,
        kernel=_refused() if root and all(present.values()) else (),
        disk_free=shutil.disk_usage(_existing(home())).free,
        memory_free=_memory_available(),
    )


def missing(facts: Facts, *, built: bool, bare: bool) -> list[Missing]:
    """Return what the machine lacks, in the order in which to fix it.

    ``built``: the lab's disks are there already, so that less free disk is needed; ``bare``:
    only bare hosts are wanted.
    """
    lacks = []
    if not facts.os_ids & {"debian", "ubuntu"} or not shutil.which("apt-get"):
        lacks.append(Missing("Debian or Ubuntu with apt-get", "use a Debian 12 machine"))
    if not facts.root:
        lacks.append(Missing("root: the lab makes containers and networks", "repeat as root"))
    absent = [program for program, present in facts.programs.items() if not present]
    if absent:
        names = " ".join(sorted({PROGRAMS[program] for program in absent}))
        lacks.append(Missing(f"the programs {', '.join(absent)}", f"apt-get install {names}"))
    lacks.extend(
        Missing(what, "use a machine or a virtual machine with a kernel that allows it")
        for what in facts.kernel
    )
    disk = BARE_DISK_NEEDED if bare or built else DISK_NEEDED
    if facts.disk_free < disk:
        lacks.append(
            Missing(
                f"{_gib(disk)} free below {home()}, there are {_gib(facts.disk_free)}",
                "free some, or name another folder by BACKSTAY_LAB_HOME",
            )
        )
    memory = BARE_MEMORY_NEEDED if bare else MEMORY_NEEDED
    if facts.memory_free < memory:
        lacks.append(
            Missing(
                f"{_gib(memory)} of free memory, there are {_gib(facts.memory_free)}",
                "end other programs, or use a machine with more",
            )
        )
    return lacks


def require(lacks: list[Missing]) -> None:
    """Raise LabError that names all that is missing, where something is."""
    if lacks:
        raise LabError(
            "bringing the lab up on this machine",
            came_back="it lacks " + "; ".join(lack.what for lack in lacks),
            remedy="; ".join(dict.fromkeys(lack.remedy for lack in lacks)),
        )


def install_missing(facts: Facts) -> list[str]:
    """Install the packages of missing programs with apt-get; return their names."""
    names = sorted({PROGRAMS[name] for name, present in facts.programs.items() if not present})
    if names:
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "-q", "-y", "--no-install-recommends", "install", *names]
        programs.run(["apt-get", "-q", "update"], attempted="apt-get update", bound=300)
        programs.run(install, attempted=f"installing {' '.join(names)}", bound=600, env=environment)
    return names


def codename() -> str:
    """Return the machine's release, as in its APT sources. Raises LabError where there is none."""
    release = _os_release()
    name = release.get("VERSION_CODENAME")
    if not name:
        raise LabError(
            "finding this machine's release",
            came_back="/etc/os-release has no VERSION_CODENAME",
            remedy="use a Debian 12 machine",
        )
    return name


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def _os_ids() -> frozenset[str]:
    release = _os_release()
    return frozenset([release.get("ID", ""), *release.get("ID_LIKE", "").split()])


def _refused() -> tuple[str, ...]:
    refused = []
    for what, script in ATTEMPTS.items():
        done = programs.run(["sh", "-euc", script], attempted=what, bound=20, check=False)
        if done.returncode:
            refused.append(what)
    return tuple(refused)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _memory_available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
