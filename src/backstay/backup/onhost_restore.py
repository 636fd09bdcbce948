"""What a host does when a backup is put back. Shipped as text: standard library, Python 3.6.

Everything comes beside what is there and takes its place by renaming; what was there is kept. Each
function may be called again after an interruption at any point.
"""

import contextlib
import ctypes
import errno
import grp
import os
import pwd
import stat
import struct
import subprocess
import sys
from typing import IO, Any

from backstay.backup.onhost_paths import (
    copied,
    deeper_folder,
    made_beneath,
    moved,
    opened,
    removed,
    require_own,
    status_of,
    steps_of,
    way_to,
)

CREATED = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = "new"
BEFORE = "before"
AWAY = "moved-away"
"""A file beside the two folders: all that was there is in ``before``."""


def unknown(users: list[str], groups: list[str]) -> list[str]:
    """Return the users and groups that this host does not know."""
    known_users = {one.pw_name for one in pwd.getpwall()}
    known_groups = {one.gr_name for one in grp.getgrall()}
    return sorted(set(users) - known_users | set(groups) - known_groups)


def said(command: list[str]) -> str:
    """Return what a program prints, nothing where it is not there or fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip()


def free(folder: str) -> int:
    """Return how many bytes root may still write there."""
    status = os.statvfs(folder)
    return int(status.f_bfree * status.f_frsize)


def receive(folder: str, squeezed: bool = False) -> None:
    """Unpack a tar archive from standard input into ``folder``, emptied first.

    Owners go by name, as tar(1) has it: users may have other numbers on this host. ``squeezed``
    says that it comes in pieces as ``archive.squeezed`` makes them.
    """
    place = fresh(folder)
    tar = subprocess.Popen(
        [
            "tar",
            "--extract",
            "--file=-",
            "--preserve-permissions",
            "--same-owner",
            "--directory=/proc/self/fd/" + str(place),
        ],
        stdin=subprocess.PIPE if squeezed else 0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[place],
    )
    if squeezed and tar.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # its own last words say more
            unsqueeze(sys.stdin.buffer, tar.stdin)
    _, errors = tar.communicate()
    os.close(place)
    if tar.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        sys.exit(lines[-1] if lines else "tar ended with " + str(tar.returncode))


def fresh(folder: str) -> int:
    """Make a new, empty folder for root alone in the place of what is there; return it open.

    Raises OSError where another user could exchange it, or a link of another user leads to it.
    """
    above, _, name = folder.rpartition("/")
    parent = opened(above or "/", len(steps_of(folder)) - 1, make=True)
    try:
        require_own(parent, above)
        removed(parent, name)
        os.mkdir(name, 0o700, dir_fd=parent)
        return deeper_folder(parent, name)
    finally:
        os.close(parent)


def unsqueeze(source: IO[bytes], target: IO[bytes]) -> None:
    """Write the pieces of ``source`` to ``target``, each a frame of zstd with both its lengths.

    https://facebook.github.io/zstd/zstd_manual.html
    """
    library = zstd()
    if library is None:
        raise OSError("there is no libzstd on this host")
    while True:
        head = source.read(8)
        if not head:
            return
        short, length = struct.unpack(">II", head)
        frame, piece = source.read(short), ctypes.create_string_buffer(length)
        if len(frame) != short or library.ZSTD_decompress(piece, length, frame, short) != length:
            raise OSError("the data received are incomplete")
        target.write(piece.raw)


def zstd() -> Any:  # noqa: ANN401 - a library
    """Return the library, None where this host has none; it comes with dpkg and rpm."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    size = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_void_p, size, ctypes.c_char_p, size]
    library.ZSTD_decompress.restype = size
    return library


def swap_data(folder: str, beside: str) -> dict[str, str]:
    """Put the restored data directory in the place of what is there, which is kept beside it."""
    # The data directory itself may be a link of root's to another disk.
    there = opened(folder, len(steps_of(folder)), make=True)
    aside = opened(beside, len(steps_of(beside)) - 1, make=True)
    try:
        require_own(aside, beside)
        if status_of(aside, AWAY) is None:
            move_away(there, aside, beside)
        if status_of(aside, NEW) is not None:
            new = deeper_folder(aside, NEW)
            status = os.fstat(new)
            os.fchown(there, status.st_uid, status.st_gid)
            for name in os.listdir(new):
                moved(new, name, there, name)
            os.close(new)
            os.rmdir(NEW, dir_fd=aside)
        os.sync()
        before = deeper_folder(aside, BEFORE)
        kept = os.listdir(before)
        os.close(before)
    finally:
        os.close(there)
        os.close(aside)
    return {"kept": os.path.join(beside, BEFORE) if kept else ""}


def move_away(there: int, aside: int, beside: str) -> None:
    """Move all that is in a folder to ``before`` in another, which may be in it; then say so."""
    if status_of(aside, NEW) is None:
        raise OSError(os.path.join(beside, NEW) + " is not there")
    itself = os.fstat(aside)
    before = made_beneath(aside, [BEFORE], 0o700)
    for name in os.listdir(there):
        status = status_of(there, name)
        if status and (status.st_dev, status.st_ino) != (itself.st_dev, itself.st_ino):
            moved(there, name, before, name)
    os.close(before)
    os.close(os.open(AWAY, CREATED, 0o600, dir_fd=aside))


def place_files(
    staging: str, folders: list[list[Any]], declared: list[str] | tuple[()] = ()
) -> dict[str, Any]:
    """Put the files that were sent in their places; what they replace is kept.

    ``folders`` are those that shall be as in the backup: path, rights, and owner and group by name.
    ``declared`` are the paths that are restored: only on the way to them links count, and only
    root's (``onhost_paths``). From there on a link where a folder belongs is replaced, and kept.
    """
    away = opened(staging, len(steps_of(staging)))
    try:
        require_own(away, staging)
        for path, mode, user, group in folders:
            folder = made_folder(path, way_to(path, list(declared) or [path]), away)
            try:
                os.fchown(folder, number(user, pwd), number(group, grp))
                os.fchmod(folder, mode)
            finally:
                os.close(folder)
        count = 0
        if status_of(away, NEW) is not None:
            new = deeper_folder(away, NEW)
            count = place_beneath(new, "", list(declared), away)
            os.close(new)
        os.sync()
        kept = status_of(away, BEFORE) is not None
    finally:
        os.close(away)
    return {"placed": count, "kept": os.path.join(staging, BEFORE) if kept else ""}


def number(name: str, names: Any) -> int:  # noqa: ANN401 - a module
    """Return the number of a user (``pwd``) or group (``grp``); one without a name is a number."""
    if name.isdigit():
        return int(name)
    return int(names.getpwnam(name).pw_uid if names is pwd else names.getgrnam(name).gr_gid)


def place_beneath(source: int, path: str, declared: list[str], away: int) -> int:
    """Place all files and links of an open folder in the folder ``path``; return how many."""
    count, target = 0, -1
    try:
        for name in sorted(os.listdir(source)):
            here = path + "/" + name
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                inner = deeper_folder(source, name)
                count += place_beneath(inner, here, declared, away)
                os.close(inner)
                continue
            if target < 0:
                # Where nothing is declared, no link may be on the way.
                within = [one for one in declared if (here + "/").startswith(one.rstrip("/") + "/")]
                target = made_folder(path or "/", way_to(here, within) if within else -1, away)
            place(source, name, target, path, away)
            count += 1
    finally:
        if target >= 0:
            os.close(target)
    return count


def made_folder(path: str, way: int, away: int) -> int:
    """Return a descriptor of a folder of the host, made where it is not there.

    The first ``way`` components may be links of root's; from there on what stands in its place and
    is no folder is moved to ``before`` in the open folder ``away``. With ``way`` -1 none is moved.
    """
    steps = steps_of(path)
    first = len(steps) if way < 0 else way
    current = opened("/" + "/".join(steps[:first]), max(way, 0), make=True)
    for at in range(first, len(steps)):
        status = status_of(current, steps[at])
        try:
            if status is not None and not stat.S_ISDIR(status.st_mode):
                keep(current, steps[: at + 1], away)
                removed(current, steps[at])
            deeper = deeper_folder(current, steps[at], True)
        finally:
            os.close(current)
        current = deeper
    return current


def place(source: int, name: str, target: int, path: str, away: int) -> None:
    """Keep what has the name in the open folder ``target``, then put the new one there at once.

    ``path`` is the target's.
    """
    keep(target, [*steps_of(path or "/"), name], away)
    status = status_of(target, name)
    if status is not None and stat.S_ISDIR(status.st_mode):
        removed(target, name)
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copied(source, name, target, name)
        os.unlink(name, dir_fd=source)


def keep(folder: int, steps: list[str], away: int) -> None:
    """Keep what is in an open folder, in ``before``, unless something is kept there already.

    ``steps`` are the components of its path. A folder is moved, a file or a link copied: it stays
    until the new one takes its place.
    """
    name = steps[-1]
    status = status_of(folder, name)
    if status is None:
        return
    kept = made_beneath(away, [BEFORE, *steps[:-1]], 0o700)
    try:
        if status_of(kept, name) is not None and not stat.S_ISDIR(status.st_mode):
            return
        if stat.S_ISDIR(status.st_mode):
            moved(folder, name, kept, name)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            copied(folder, name, kept, name)
    finally:
        os.close(kept)


def copy(source: str, target: str) -> None:
    """Copy a file or a link of root's own folders, with its owner, rights and times, or nothing."""
    folders = [opened(os.path.dirname(path), len(steps_of(path))) for path in (source, target)]
    copied(folders[0], os.path.basename(source), folders[1], os.path.basename(target))
    for folder in folders:
        os.close(folder)


def copy_rights(source: str, target: str) -> None:
    """Give a file the owner and the rights of another; neither may be a link."""
    with open(os.open(source, READING), "rb") as old, open(os.open(target, READING), "rb") as new:
        status = os.fstat(old.fileno())
        os.fchown(new.fileno(), status.st_uid, status.st_gid)
        os.fchmod(new.fileno(), stat.S_IMODE(status.st_mode))


def remove(folders: list[str]) -> dict[str, Any]:
    """Remove folders, and the ones that they are in where nothing else is there."""
    for folder in folders:
        above, _, name = folder.rpartition("/")
        try:
            parent = opened(above or "/", len(steps_of(above)) if above else 0)
        except OSError:
            continue  # it is not there
        with contextlib.suppress(OSError):
            removed(parent, name)
        os.close(parent)
        with contextlib.suppress(OSError):  # what was there before is kept in it
            os.rmdir(above)
    return {}
