"""Keep one lab host running: start systemd-nspawn, start it again when the host reboots.

Run as a program of its own by its path (not imported), with the host's folder as its argument, so
that it needs neither the package nor its dependencies: it stays as long as the host is powered on,
and there is one per host. It reads ``supervisor.json`` in that folder::

    {"argv": [...], "cgroups": ["/sys/fs/cgroup/..."], "bridges": {"VETH": "BRIDGE"}}

With ``--keep-unit`` systemd-nspawn does not restart a container itself: when the system inside
asks for a reboot, it ends with status 133 and leaves the restart to its caller (EXIT STATUS and
--kill-signal in systemd-nspawn(1); 133 is in its source as EXIT_FORCE_RESTART). Any other status
means that the host is powered off.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

REBOOT = 133
VETH_BOUND = 20.0


def start_time(pid: int) -> str:
    """Return a process's start time in clock ticks since boot: field 22 of proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def write_pid(file: Path, pid: int) -> None:
    """Record a process as ``PID START_TIME``, atomically."""
    part = file.with_suffix(".part")
    part.write_text(f"{pid} {start_time(pid)}\n")
    part.rename(file)


def renew_groups(groups: list[Path]) -> None:
    """Make empty groups: what the last boot left below them would refuse the next one (v2)."""
    for group in groups:
        for inner, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(inner).rmdir()
        group.mkdir(exist_ok=True)


def joiner(groups: list[Path]) -> Callable[[], None]:
    """Return a function that puts the calling process into the groups."""

    def join() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text("0")

    return join


def remove_veths(veths: Iterable[str]) -> None:
    """Remove interfaces of the last boot: the kernel takes them away only some time after it."""
    for veth in veths:
        if Path("/sys/class/net", veth).exists():
            subprocess.run(["ip", "link", "delete", veth], check=False)


def attach(process: "subprocess.Popen[bytes]", bridges: dict[str, str]) -> None:
    """Hang the machine's ends of the host's interfaces onto their bridges once they are there."""
    deadline = time.monotonic() + VETH_BOUND
    for veth, bridge in bridges.items():
        while not Path("/sys/class/net", veth).exists():
            if process.poll() is not None or time.monotonic() > deadline:
                return
            time.sleep(0.02)
        subprocess.run(["ip", "link", "set", veth, "master", bridge, "up"], check=False)


def supervise(folder: Path) -> int:
    """Run the host until it is powered off; give systemd-nspawn's last exit status."""
    plan = json.loads((folder / "supervisor.json").read_text())
    groups = [Path(group) for group in plan["cgroups"]]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    write_pid(folder / "supervisor.pid", os.getpid())
    status = REBOOT
    while status == REBOOT:
        renew_groups(groups)
        remove_veths(plan["bridges"])
        with (folder / "console.log").open("ab") as console:
            process = subprocess.Popen(
                plan["argv"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes"},
                preexec_fn=joiner(groups),  # noqa: PLW1509 - this program has one thread
            )
            write_pid(folder / "nspawn.pid", process.pid)
            attach(process, plan["bridges"])
            status = process.wait()
            console.write(f"-- systemd-nspawn ended with status {status}\n".encode())
    return status


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
