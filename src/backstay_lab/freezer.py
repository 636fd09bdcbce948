"""Freezing a whole lab host: no process of it gets the processor any more.

Its kernel, which is the machine's, still answers ping and takes TCP connections, as a server does
whose operating system hangs.
"""

import contextlib
import time

from backstay_lab import cgroups

BOUND = 10.0  # seconds until every process must be frozen or running


def freeze(cgroup: str) -> bool:
    """Freeze all processes of a group; True once all are.

    The unified hierarchy's freezer is taken where there is one (cgroup.freeze in the kernel's
    cgroup-v2 document): its processes can still be killed. Else the freezer of v1.
    """
    for folder in cgroups.paths(cgroup):
        if (folder / "cgroup.freeze").exists():
            (folder / "cgroup.freeze").write_text("1")
            break
    else:
        for folder in cgroups.paths(cgroup):
            if (folder / "freezer.state").exists():
                (folder / "freezer.state").write_text("FROZEN")
    return _await(cgroup, frozen=True)


def thaw(cgroup: str) -> bool:
    """Let all processes of a group run again; True once they do."""
    cgroups.thaw(cgroup)
    return _await(cgroup, frozen=False)


def is_frozen(cgroup: str) -> bool:
    """Return whether the processes of a group are frozen, in any hierarchy."""
    for folder in cgroups.paths(cgroup):
        with contextlib.suppress(OSError):
            if "frozen 1" in (folder / "cgroup.events").read_text().splitlines():
                return True
        with contextlib.suppress(OSError):
            if (folder / "freezer.state").read_text().strip() == "FROZEN":
                return True
    return False


def _await(cgroup: str, *, frozen: bool) -> bool:
    until = time.monotonic() + BOUND
    while is_frozen(cgroup) != frozen:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
