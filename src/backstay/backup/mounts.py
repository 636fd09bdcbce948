"""Which disk a folder is on, and whether the disk is away that it should be on."""

import os
import re
from pathlib import Path

FSTAB = Path("/etc/fstab")
_OCTAL = re.compile(r"\\([0-7]{3})")


def mount_of(path: Path) -> str:
    """Return where the disk of a path is mounted, empty for this machine's root."""
    here = Path(os.path.abspath(path))  # noqa: PTH100 - a link on the way may be the mount's
    for folder in (here, *here.parents):
        if os.path.ismount(folder):
            return "" if folder == Path("/") else str(folder)
    return ""


def missing_mount(path: Path, noted: str = "", *, fstab: Path | None = None) -> str:
    """Return the mount point at or above a path at which nothing is mounted now, empty for none.

    ``noted`` is where its disk was mounted before; else the lines of fstab say where disks belong.
    """
    if noted and not os.path.ismount(noted):
        return noted
    here = Path(os.path.abspath(path))  # noqa: PTH100
    wanted = [point for point in _points(fstab or FSTAB) if here.is_relative_to(point)]
    nearest = max(wanted, key=lambda point: len(point.parts), default=None)
    return str(nearest) if nearest is not None and not os.path.ismount(nearest) else ""


def _points(fstab: Path) -> list[Path]:
    """Return the mount points of fstab(5), but for the root's. Blanks in them are octal there."""
    try:
        lines = fstab.read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) >= 2 and words[1].startswith("/") and words[1] != "/":
            found.append(Path(_OCTAL.sub(lambda one: chr(int(one[1], 8)), words[1])))
    return found
