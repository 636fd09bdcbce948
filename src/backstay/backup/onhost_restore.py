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
import shutil
import stat
import struct
import subprocess
import sys
from typing import IO, Any

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
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, mode=0o700)
    tar = subprocess.Popen(
        ["tar", "--extract", "--file=-", "--preserve-permissions", "--same-owner"],
        stdin=subprocess.PIPE if squeezed else 0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
    )
    if squeezed and tar.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # its own last words say more
            unsqueeze(sys.stdin.buffer, tar.stdin)
    _, errors = tar.communicate()
    if tar.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        sys.exit(lines[-1] if lines else "tar ended with " + str(tar.returncode))


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
    new, before = os.path.join(beside, NEW), os.path.join(beside, BEFORE)
    away = os.path.join(beside, AWAY)
    if not os.path.exists(away):
        if not os.path.isdir(new):
            raise OSError(new + " is not there")
        os.makedirs(folder, exist_ok=True)
        os.makedirs(before, mode=0o700, exist_ok=True)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if path != beside:
                move(path, os.path.join(before, name))
        with open(away, "w"):
            pass
    if os.path.isdir(new):
        status = os.stat(new)
        os.chown(folder, status.st_uid, status.st_gid)
        for name in os.listdir(new):
            move(os.path.join(new, name), os.path.join(folder, name))
        os.rmdir(new)
    os.sync()
    return {"kept": before if os.listdir(before) else ""}


def place_files(staging: str, folders: list[list[Any]]) -> dict[str, Any]:
    """Put the files that were sent in their places; what they replace is kept.

    ``folders`` are those that shall be as in the backup: path, rights, and owner and group by name.
    """
    new, before = os.path.join(staging, NEW), os.path.join(staging, BEFORE)
    for path, mode, user, group in folders:
        os.makedirs(path, exist_ok=True)
        shutil.chown(path, user, group)
        os.chmod(path, mode)
    count = 0
    for folder, inner, names in os.walk(new):
        inside = os.path.relpath(folder, new)
        target = os.path.normpath(os.path.join("/", inside))
        os.makedirs(target, exist_ok=True)
        for name in names + [name for name in inner if os.path.islink(os.path.join(folder, name))]:
            place(
                os.path.join(folder, name),
                os.path.join(target, name),
                os.path.join(before, inside, name),
            )
            count += 1
    os.sync()
    return {"placed": count, "kept": before if os.path.isdir(before) else ""}


def place(source: str, target: str, kept: str) -> None:
    """Keep what is at ``target``, then put ``source`` there in one instant."""
    if os.path.lexists(target) and not os.path.lexists(kept):
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        copy(target, kept)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target)
        os.unlink(source)


def move(source: str, target: str) -> None:
    """Rename; where that is not possible (another file system, an overlay), copy and remove."""
    try:
        os.rename(source, target)
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST):
            raise
    if os.path.isdir(source) and not os.path.islink(source):
        if not os.path.isdir(target):
            os.mkdir(target)
        copy_rights(source, target)
        for name in os.listdir(source):
            move(os.path.join(source, name), os.path.join(target, name))
        os.rmdir(source)
    else:
        copy(source, target)
        os.unlink(source)


def copy(source: str, target: str) -> None:
    """Copy a file or a link with its owner, rights and times, whole or not at all."""
    part = target + ".part"
    if os.path.lexists(part):
        os.unlink(part)
    shutil.copy2(source, part, follow_symlinks=False)
    copy_rights(source, part)
    os.rename(part, target)


def copy_rights(source: str, target: str) -> None:
    """Give ``target`` the owner and the rights of ``source``."""
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))


def remove(folders: list[str]) -> dict[str, Any]:
    """Remove folders, and the ones that they are in where nothing else is there."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rmdir(os.path.dirname(folder))
        except OSError:
            continue  # what was there before is kept in it
    return {}


def stop(units: list[str]) -> dict[str, Any]:
    """Stop units, and what would start them again, and keep all from starting until ``start``.

    Returns those that still run, and the active units (sockets, timers) that trigger them. A mask
    at run time ends with the boot: https://www.freedesktop.org/software/systemd/man/systemctl.html
    """
    # Masked: an earlier call was interrupted.
    triggers = [
        one
        for one in triggered_by(units)
        if state(one) == "active" or show("LoadState", [one]) == "masked"
    ]
    chosen = triggers + units
    subprocess.run(["systemctl", "mask", "--runtime", "--quiet", *chosen], check=False)
    subprocess.run(["systemctl", "stop", *chosen], check=False)
    still = [unit for unit in chosen if state(unit) not in ("inactive", "failed")]
    return {"running": still, "triggers": triggers}


def start(units: list[str], triggers: list[str]) -> dict[str, Any]:
    """Let units start again, and start them with those of ``triggers`` that are theirs.

    Returns what systemd says where that fails, an empty text where it does not.
    """
    mine = [one for one in triggered_by(units) if one in triggers] + units
    # Settings of units may have been put back.
    subprocess.run(["systemctl", "daemon-reload"], stderr=subprocess.DEVNULL, check=False)
    subprocess.run(["systemctl", "unmask", "--runtime", "--quiet", *mine], check=False)
    subprocess.run(["systemctl", "reset-failed", *mine], stderr=subprocess.DEVNULL, check=False)
    done = subprocess.run(
        ["systemctl", "start", *mine],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    error = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    return {"error": error[-300:]}


def allow(units: list[str], enable: list[str]) -> dict[str, Any]:
    """Let units start again without starting them, and those of ``enable`` at every boot."""
    command = ["systemctl", "unmask", "--runtime", "--quiet", *triggered_by(units), *units]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    wanting = [unit for unit in enable if show("UnitFileState", [unit]) == "disabled"]
    if wanting:
        subprocess.run(
            ["systemctl", "enable", "--quiet", *wanting], stderr=subprocess.DEVNULL, check=False
        )
    return {"enabled": wanting}


def triggered_by(units: list[str]) -> list[str]:
    """Return the units that start any of ``units``: sockets, timers, paths."""
    shown = show("TriggeredBy", units).split()
    return sorted(set(shown))


def state(unit: str) -> str:
    """Return the unit's ActiveState, nothing where systemd does not report it."""
    return show("ActiveState", [unit])


def show(name: str, units: list[str]) -> str:
    """Return one property of units, a line each."""
    command = ["systemctl", "show", "--value", "--property=" + name, *units]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return done.stdout.decode(errors="replace").strip()
