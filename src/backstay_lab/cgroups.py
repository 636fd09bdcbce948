"""Control groups of our own, by name, in every hierarchy that the machine has mounted.

Each lab host needs one: with systemd-nspawn's ``--keep-unit --register=no`` hosts would share the
caller's group, and one host's systemd would act on another's units of the same name. They also
are how every process of ours is found, whatever started it.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

# v1 hierarchies that need settings of their own before a process may enter are left out
LEFT_OUT = {"cpuset", "net_cls", "net_prio", "hugetlb", "perf_event", "rdma", "misc", "blkio"}
FREEZE_BOUND = 10.0
"""Seconds until every process must be frozen or running."""


@cache
def hierarchies() -> tuple[Path, ...]:
    """Return the mount points of the cgroup hierarchies that hosts are put into."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, filesystem = line.partition(" - ")
        point = Path(fields.split()[4])
        kind = filesystem.split()[0]
        if kind == "cgroup2" or (kind == "cgroup" and not set(point.name.split(",")) & LEFT_OUT):
            found.append(point)
    return tuple(dict.fromkeys(found))


def paths(name: str) -> list[Path]:
    """Return the folders of the group of that name in every hierarchy."""
    return [hierarchy / name for hierarchy in hierarchies()]


def create(name: str) -> list[Path]:
    """Make the group where it is missing; return its folders."""
    folders = paths(name)
    for folder in folders:
        folder.mkdir(exist_ok=True)
    return folders


def renew(name: str) -> list[Path]:
    """Create the group again, without what an earlier use left below it; return its folders.

    On cgroup v2 a group with settings for groups below it takes no process itself any more.
    """
    remove(name)
    return create(name)


def joiner(folders: Sequence[Path]) -> Callable[[], None]:
    """Return a function that puts the calling process into the groups, for use after a fork."""
    files = [os.fsencode(folder / "cgroup.procs") for folder in folders]

    def join() -> None:
        for file in files:
            handle = os.open(file, os.O_WRONLY)
            os.write(handle, b"0")
            os.close(handle)

    return join


def named(prefix: str) -> set[str]:
    """Return the names of all groups whose names start with ``prefix``."""
    return {
        folder.name
        for hierarchy in hierarchies()
        for folder in hierarchy.glob(f"{prefix}*")
        if folder.is_dir()
    }


def processes(name: str) -> set[int]:
    """Return the process ids in the group and in all groups below it, in any hierarchy."""
    found: set[int] = set()
    for folder in paths(name):
        for inner, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in (Path(inner) / "cgroup.procs").read_text().split())
    return found - {0}


def _thaw(name: str) -> None:
    """Tell the kernel to let frozen processes run: a frozen one cannot even be killed."""
    for folder in paths(name):
        for inner, _, files in os.walk(folder, topdown=False):
            if "freezer.state" in files:
                _write(Path(inner) / "freezer.state", "THAWED")
            if "cgroup.freeze" in files:
                _write(Path(inner) / "cgroup.freeze", "0")


def kill(name: str, bound: float = 20) -> bool:
    """Kill every process of the group; True when it is empty within ``bound`` seconds.

    A process is in the group at the moment that its id is read and signalled by a handle on it,
    so that an id that has been given to another process meanwhile is never hit.
    """
    deadline = time.monotonic() + bound
    while remaining := processes(name):
        _thaw(name)
        for pid in remaining:
            _kill_member(name, pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _kill_member(name: str, pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if f"/{name}" in Path(f"/proc/{pid}/cgroup").read_text():
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(handle)


def remove(name: str) -> bool:
    """Remove the (empty) group and those below it in every hierarchy; True when all are gone."""
    for folder in paths(name):
        for inner in _bottom_up(folder):
            with contextlib.suppress(OSError):
                inner.rmdir()
    return not any(folder.exists() for folder in paths(name))


def _bottom_up(folder: Path) -> Iterator[Path]:
    for inner, _, _ in os.walk(folder, topdown=False):
        yield Path(inner)


def _write(file: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        file.write_text(text)


def freeze(name: str) -> bool:
    """Freeze all processes of a group, as a hung operating system; return whether all are frozen.

    The kernel, which is the machine's, still answers ping and takes TCP connections for them.
    The unified hierarchy's freezer is taken where there is one (cgroup.freeze in the kernel's
    cgroup-v2 document): its processes can still be killed. Else the freezer of v1.
    """
    for folder in paths(name):
        if (folder / "cgroup.freeze").exists():
            (folder / "cgroup.freeze").write_text("1")
            break
    else:
        for folder in paths(name):
            if (folder / "freezer.state").exists():
                (folder / "freezer.state").write_text("FROZEN")
    return _await_frozen(name, frozen=True)


def thaw(name: str) -> bool:
    """Let all processes of a group run again; return whether they do."""
    _thaw(name)
    return _await_frozen(name, frozen=False)


def is_frozen(name: str) -> bool:
    """Return whether the processes of a group are frozen, in any hierarchy."""
    for folder in paths(name):
        with contextlib.suppress(OSError):
            if "frozen 1" in (folder / "cgroup.events").read_text().splitlines():
                return True
        with contextlib.suppress(OSError):
            if (folder / "freezer.state").read_text().strip() == "FROZEN":
                return True
    return False


def _await_frozen(name: str, *, frozen: bool) -> bool:
    until = time.monotonic() + FREEZE_BOUND
    while is_frozen(name) != frozen:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
