"""Taking a lab down: find everything that is ours by name and remove it.

Nothing here relies on what ``lab up`` remembers having done, so that it also clears what an
interrupted one left: groups, processes, mounts, loop devices, interfaces and the nftables table.
"""

import contextlib
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from backstay_lab import bmc, cgroups, cloudfile, disk, faults, layers, network, state
from backstay_lab.container import machine_name
from backstay_lab.errors import LabError
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab, archives_folder, layers_folder
from backstay_lab.state import Phase, State

KILL_BOUND = 30.0
NSPAWN = Path("/run/systemd/nspawn")
SUPERVISORS = (b"backstay_lab/supervisor.py", b"backstay/lab/supervisor.py")
"""The second one is of labs that were started before the lab was a package of its own."""
BUILDERS = ("base", "controller", "proxy", "storage", "compute")


def down(name: str, *, purge: bool) -> bool:
    """Take a lab down; with ``purge`` forget its built disks, keys and the layers too.

    Returns False where there was no such lab. Raises LabError where something cannot be removed.
    """
    with state.locked(name):
        known = state.load_or_guess(name)
        if known is None:
            return False
        lab = known.lab
        bmc.stop(lab)
        clear(lab, last=_is_last(name))
        _forget(known, purge=purge)
        return True


def clear(lab: Lab, *, last: bool) -> None:
    """End all processes of a lab and remove its mounts, groups and networks."""
    end_processes(lab)
    remove_traces(lab)
    unmount(lab.folder)
    remove_groups(lab)
    faults.release(lab)
    network.remove(lab, last=last)


def discard_hosts(lab: Lab, names: list[str]) -> None:
    """End some hosts at once and throw their disks away."""
    hosts = [LabHost(lab, name) for name in names]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda host: host.power_off(hard=True), hosts))
    for host in hosts:
        unmount(host.folder)
        shutil.rmtree(host.folder, ignore_errors=True)


def end_processes(lab: Lab) -> None:
    """Kill supervisors first (else they restart hosts), then everything in the lab's groups."""
    for pid in supervisors(lab):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    groups = sorted(cgroups.named(lab.cgroup("")))
    with ThreadPoolExecutor(8) as pool:
        emptied = dict(zip(groups, pool.map(cgroups.kill, groups), strict=True))
    stuck = [group for group, empty in emptied.items() if not empty]
    if stuck:
        raise LabError(
            f"ending the processes of lab {lab.name}",
            came_back=f"some in {', '.join(stuck)} cannot be killed",
            remedy="they wait in the kernel: read their state with ps, then repeat the command",
        )


def end_builders(lab: Lab) -> None:
    """Kill what an interrupted ``lab up`` left at work on layers."""
    for group in cgroups.named(lab.cgroup("build-")):
        cgroups.kill(group)
        cgroups.remove(group)


def supervisors(lab: Lab) -> list[int]:
    """Return the process ids of the lab's supervisors, by their command lines."""
    prefix = os.fsencode(lab.folder / "hosts") + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                ours = len(arguments) > 2 and arguments[-2].endswith(SUPERVISORS)
                if ours and arguments[-1].startswith(prefix):
                    found.append(int(entry.name))
    return found


def remove_traces(lab: Lab) -> None:
    """Remove what killed systemd-nspawn processes left in their runtime folder.

    It locks a root directory by a file that is named by the directory's device and inode.
    """
    for root in (lab.folder / "hosts").glob("*/root"):
        about = root.stat()
        lock = NSPAWN / "locks" / f"inode-{about.st_dev}:{about.st_ino}"
        lock.unlink(missing_ok=True)
    for name in (*lab.places, *("build-" + layer for layer in BUILDERS)):
        with contextlib.suppress(OSError):
            (NSPAWN / "propagate" / machine_name(lab.cgroup(name))).rmdir()


def unmount(folder: Path) -> None:
    """Unmount all below a folder, waiting a bounded time for the kernel to let go."""
    deadline = time.monotonic() + KILL_BOUND
    while left := disk.unmount_all(folder):
        if time.monotonic() > deadline:
            raise LabError(
                f"unmounting below {folder}",
                came_back=f"busy: {', '.join(str(point) for point in left)}",
                remedy="leave those folders in all shells, then repeat the command",
            )
        time.sleep(0.2)


def remove_groups(lab: Lab) -> None:
    """Remove the lab's (empty) control groups."""
    deadline = time.monotonic() + KILL_BOUND
    while left := [name for name in cgroups.named(lab.cgroup("")) if not cgroups.remove(name)]:
        if time.monotonic() > deadline:
            raise LabError(
                "removing the lab's control groups",
                came_back=f"busy: {', '.join(left)}",
                remedy="repeat the command",
            )
        time.sleep(0.1)


def _is_last(name: str) -> bool:
    others = (other for other in state.all_labs() if other.name != name)
    return not any(other.phase is not Phase.DOWN for other in others)


def _forget(known: State, *, purge: bool) -> None:
    lab = known.lab
    cloudfile.remove(lab)
    shutil.rmtree(lab.folder / "hosts", ignore_errors=True)
    layers.remove_unfinished()
    if not purge:
        kept = State(lab.name, lab.slot, lab.computes, login=lab.login)
        state.save(replace(kept, built_key=known.built_key))
        return
    shutil.rmtree(lab.folder, ignore_errors=True)
    if not state.all_labs():
        for folder in (layers_folder(), archives_folder()):
            shutil.rmtree(folder, ignore_errors=True)
