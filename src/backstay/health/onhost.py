"""What the check asks on a host: units, file systems, memory, ports, and services' own probes.

Sent as text: standard library, Python 3.6.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from backstay.access.onhost import ask_all, loaded, print_as_root, run
from backstay.health.onhost_mounts import mounts, wrong_mounts

# Tells the operator that a systemd unit runs, and since when: `systemctl show`'s own names.
UNIT_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "NRestarts",
    "MainPID",
    "ExecMainStatus",
    "ActiveEnterTimestampMonotonic",
    "StateChangeTimestampMonotonic",
)
UNIT_BOUND = 8.0
DISK_BOUND = 5.0
QUICK_BOUND = 5.0


def answer_host(spec: dict[str, Any]) -> dict[str, Any]:
    """Ask all that ``spec`` names and return the answers as JSON-serialisable data.

    ``spec`` has ``units`` and ``others`` (names) and ``probes`` (name, bound, source text,
    function's name).
    """
    started = time.time()
    questions: dict[str, tuple[float, Callable[[], Any]]] = {
        "units": (UNIT_BOUND, lambda: units(spec["units"])),
        "other units": (UNIT_BOUND, lambda: other_units(spec["others"])),
        "failed units": (UNIT_BOUND, failed_units),
        "listening": (QUICK_BOUND, listening),
        "memory": (QUICK_BOUND, memory),
        "mounts": (QUICK_BOUND, wrong_mounts),
    }
    for mount in mounts(Path("/proc/self/mounts").read_text(errors="replace")):
        questions["disk " + mount] = (DISK_BOUND, partial(disk, mount))
    for name, bound, source, function in spec["probes"]:
        questions["probe " + name] = (bound, loaded(name, source, function))
    answers = ask_all(questions)
    return {
        "hostname": socket.gethostname(),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "uptime": float(Path("/proc/uptime").read_text().split()[0]),
        "load": os.getloadavg()[0],
        "processors": os.cpu_count() or 1,
        "monotonic": time.monotonic(),
        "answers": answers,
        "started": started,
        "finished": time.time(),
    }


def units(names: Sequence[str]) -> dict[str, Any]:
    """Return ``systemctl show``'s text for the units, in their order, and processes' states.

    ``states`` has for each main process its own state letter and those of its descendants, as
    ``ps`` shows them (T is stopped by a signal, D waits for a disk):
    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    if not names:
        return {"show": "", "states": {}}
    properties = ",".join(UNIT_PROPERTIES)
    show = run(["systemctl", "show", "--no-pager", "--property=" + properties, *names], UNIT_BOUND)
    pids = [int(line[8:]) for line in show.splitlines() if line.startswith("MainPID=")]
    states = family_states([pid for pid in pids if pid])
    if any(state.startswith("D") for state in states.values()):
        time.sleep(
            0.3
        )  # every process waits for the disk at times: only what stays is worth a word
        again = family_states([pid for pid in pids if pid])
        states = {
            pid: state if again.get(pid, "").startswith("D") else again.get(pid, state)
            for pid, state in states.items()
        }
    return {"show": show, "states": {str(pid): state for pid, state in states.items()}}


def other_units(names: Sequence[str]) -> dict[str, Any]:
    """Return what ``units`` returns of units that need not be there, and all services that run."""
    command = ["systemctl", "list-units", "--type=service", "--state=running", "--plain"]
    command += ["--no-legend", "--no-pager", "--full"]
    found = units(names)
    found["running"] = [line.split()[0] for line in run(command, UNIT_BOUND).splitlines() if line]
    return found


def family_states(pids: Sequence[int]) -> dict[int, str]:
    """Return for each living pid its state letter followed by those of its descendants."""
    state: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue  # it has ended meanwhile
            rest = text[text.rindex(")") + 2 :].split()
            state[int(entry.name)] = rest[0]
            children.setdefault(int(rest[1]), []).append(int(entry.name))
    found = {}
    for pid in pids:
        family, waiting = "", [pid] if pid in state else []
        while waiting:
            member = waiting.pop()
            family += state[member]
            waiting.extend(children.get(member, ()))
        found[pid] = family
    return found


def failed_units() -> str:
    """Return ``systemctl list-units --failed`` as it is printed, without its legend."""
    command = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"]
    return run([*command, "--full"], UNIT_BOUND)


def listening() -> list[int]:
    """Return the TCP ports on which anything listens (state 0A in /proc/net/tcp)."""
    ports = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net/" + name).read_text().splitlines()[1:]
        except OSError:
            continue  # a host without IPv6
        fields = (line.split() for line in lines)
        ports |= {int(field[1].rpartition(":")[2], 16) for field in fields if field[3] == "0A"}
    return sorted(ports)


def memory() -> dict[str, int]:
    """Return ``MemTotal`` and ``MemAvailable`` in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return {"total": sizes["MemTotal"], "available": sizes["MemAvailable"]}


def disk(mount: str) -> dict[str, int]:
    """Return the sizes (bytes) and inodes of a file system, as ``df`` counts them."""
    sizes = os.statvfs(mount)
    try:
        with os.scandir(mount) as entries:  # one that has shut down after an error has its sizes
            next(entries, None)
    except PermissionError:
        pass  # another host's, where root is nobody
    return {
        "size": sizes.f_blocks * sizes.f_frsize,
        "used": (sizes.f_blocks - sizes.f_bfree) * sizes.f_frsize,
        "available": sizes.f_bavail * sizes.f_frsize,
        "inodes": sizes.f_files,
        "inodes_free": sizes.f_favail,
    }


def main(spec: dict[str, Any], source: str) -> None:
    """Print the answers to all that ``spec`` names; ``source`` as ``print_as_root`` has it."""
    print_as_root(lambda: answer_host(spec), source)
