"""What a host is asked before it goes down: what would keep it from coming back.

Sent as text: standard library, Python 3.6.
"""

import fcntl
import os
import re
import subprocess
from pathlib import Path

from backstay.jsondata import Json

LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
RPM_PROGRAMS = frozenset(("rpm", "yum", "dnf", "zypper"))


def boot_obstacles() -> Json:
    """Return what would keep the host from coming back: half-done packages, a missing kernel."""
    return {
        "packaging": packaging(),
        "half_done": half_done(),
        "kernel": missing_boot_files(Path("/boot/grub/grub.cfg")) if is_real() else [],
    }


def packaging() -> str:
    """Return what holds the package database just now, empty if nothing does."""
    for name in LOCKS:
        if not Path(name).exists():
            continue
        with open(name, "rb+") as file:  # noqa: PTH123 - as lockf wants it
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.lockf(file, fcntl.LOCK_UN)
            except OSError:
                return name + " is held"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                program = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if program in RPM_PROGRAMS:
                return program + " runs (process " + entry.name + ")"
    return ""


def half_done() -> str:
    """Return which packages are unpacked and not configured, empty if none are.

    https://manpages.debian.org/bookworm/dpkg/dpkg.1.en.html (``--audit``)
    """
    if not Path("/var/lib/dpkg/status").exists():
        return ""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\\n"]
    shown = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=False)
    lines = [line.split() for line in shown.stdout.decode().splitlines()]
    # The second letter is the state: half-Installed, Unpacked, half-conFigured, triggers…
    torn = [line[-1] for line in lines if line and line[0][1:2] in "HUFWt" and line[0][1:2]]
    if os.listdir("/var/lib/dpkg/updates"):  # noqa: PTH208 - Python 3.6
        torn.append("an interrupted dpkg")
    return ", ".join(torn[:6])


def is_real() -> bool:
    """Return whether the host boots a kernel of its own: a container does not."""
    if not Path("/boot/grub/grub.cfg").exists():
        return False
    done = subprocess.run(["systemd-detect-virt", "--container", "--quiet"], check=False)
    return done.returncode != 0


def missing_boot_files(config: Path) -> Json:
    """Return the kernel and initramfs of GRUB's first entry that are not there.

    A default that names another entry is not followed: the first one is a lower bound.
    """
    text = config.read_text(errors="replace")
    entry = re.search(r"menuentry\b[^{]*\{(.*?)\n\s*\}", text, re.DOTALL)
    if entry is None:
        return ["a menu entry in " + str(config)]
    named = re.findall(r"^\s*(?:linux|linuxefi|initrd|initrdefi)\s+(\S+)", entry.group(1), re.M)
    missing = []
    for name in named:
        places = [Path(name), Path("/boot" + name)]  # /boot may be a file system of its own
        if not any(place.exists() and place.stat().st_size for place in places):
            missing.append(name)
    return missing
