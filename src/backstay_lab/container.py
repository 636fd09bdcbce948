"""The container that a lab host is: command lines to start and enter it, and its processes."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from backstay_lab import supervisor
from backstay_lab.layout import archives_folder


def machine_name(cgroup: str) -> str:
    """Return the name of the container in a group, as systemd-nspawn takes it."""
    return cgroup.replace(".", "-")


def command(
    *, root: Path, name: str, machine: str, veths: Iterable[tuple[str, str]], target: str | None
) -> list[str]:
    """Return the command line of systemd-nspawn(1) that boots a host from its ``root``.

    ``veths`` are pairs: the machine's end of an interface, and the host's. ``target`` is the
    systemd target to boot to instead of the default.
    """
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={root}",
        f"--machine={machine}",
        f"--hostname={name}",
        "--register=no",
        "--keep-unit",
        "--private-network",
        *(f"--network-veth-extra={outside}:{inside}" for outside, inside in veths),
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--capability=all",
        "--system-call-filter=@keyring",
        "--system-call-filter=bpf",
        f"--bind={archives_folder()}:/var/cache/apt/archives",
        "--console=pipe",
        *([f"systemd.unit={target}"] if target else []),
    ]


def entered(leader: int) -> list[str]:
    """Return the beginning of a command line that runs a program beside a host's PID 1.

    ``leader`` is that PID 1 as the machine numbers it. No network of the host is needed.
    """
    return [
        "nsenter",
        f"--target={leader}",
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--cgroup",
        "--root",
        "--",
    ]


def recorded(file: Path) -> int | None:
    """Return the process that ``supervisor.write_pid`` recorded, where it is still the same one.

    Its id and its start time agree, and it has not ended.
    """
    try:
        pid, started = file.read_text().split()
        if supervisor.start_time(int(pid)) == started and not _is_zombie(int(pid)):
            return int(pid)
    except (OSError, ValueError):
        return None
    return None


def children(parent: int) -> list[int]:
    """Return a process's children; from all processes, since not every kernel lists them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def namespace_pids(pid: int) -> list[int]:
    """Return a process's ids, in the machine's namespace first and in its own innermost last."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[2:]]
    return []


def is_systemd(pid: int) -> bool:
    """Return whether a process runs systemd: a container's PID 1 is systemd-nspawn's stub first."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"
    return False


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def kill(pid: int | None) -> None:
    """Kill a process where there is one."""
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
