"""Files of a host, reached folder by folder without following links. Shipped as text: Python 3.6.

Folders that are backed up belong to services: whoever has taken one over can put a link anywhere in
them, and exchange a folder for a link at any moment, while this runs as root. Hence every component
is opened from the descriptor of the one before it with O_NOFOLLOW (openat(2)), and what is done is
done to that descriptor. Links count only on the way to what is declared (``/var/lib/glance`` may
lead to another disk), and only those that nobody but root can have made.
"""

import contextlib
import errno
import os
import shutil
import stat
from typing import Any
from urllib.parse import unquote_to_bytes

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe that nobody writes to would be waited for.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40
PART = ".backstay.part"


def steps_of(path: str) -> list[str]:
    """Return the components of a path. Raises OSError where it is not absolute and normalised."""
    steps = path[1:].split("/") if path != "/" else []
    if not path.startswith("/") or any(step in ("", ".", "..") for step in steps):
        raise OSError(errno.EINVAL, "not an absolute, normalised path", path)
    return steps


def way_to(path: str, declared: list[str]) -> int:
    """Return how many components of ``path`` only lead to the first declared path that it is in."""
    within = [one for one in declared if path == one or path.startswith(one.rstrip("/") + "/")]
    return min(max(len(steps_of(one)) - 1, 0) for one in within) if within else 0


def opened(path: str, way: int = 0, make: bool = False) -> int:
    """Return a descriptor of a folder; the caller closes it.

    ``way`` is how many components may be links of root's. With ``make`` folders that are not there
    are made. Raises OSError.
    """
    waiting, links = steps_of(path), 0
    current = os.open("/", FOLDER)
    try:
        while waiting:
            name = waiting.pop(0)
            way -= 1
            try:
                deeper = deeper_folder(current, name, make)
            except OSError as error:
                if way < 0 or error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                links += 1
                if links > MOST_LINKS or not is_of_root(current, name):
                    raise
                target = os.readlink(name, dir_fd=current)
                steps = [step for step in target.split("/") if step not in ("", ".")]
                waiting[:0] = steps
                way += len(steps)
                deeper = os.open("/" if target.startswith("/") else ".", FOLDER, dir_fd=current)
            os.close(current)
            current = deeper
    except OSError as error:
        os.close(current)
        raise about(path, error) from None
    return current


def deeper_folder(folder: int, name: str, make: bool = False) -> int:
    """Open a folder in an open folder; with ``make`` it is made where it is not there."""
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # it came in between: it is opened now or never
        os.mkdir(name, 0o755, dir_fd=folder)
    return os.open(name, FOLDER, dir_fd=folder)


def is_of_root(folder: int, name: str) -> bool:
    """Return whether there is a link that nobody but root can have made."""
    link, around = os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(folder)
    return (
        stat.S_ISLNK(link.st_mode)
        and link.st_uid == 0
        and around.st_uid == 0
        and not around.st_mode & 0o022
    )


def about(path: str, error: OSError) -> OSError:
    """Return the error with the path that it is about, and in words where a link is in the way."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return OSError(error.errno, "a link or a file stands where a folder must be", path)
    return OSError(error.errno, error.strerror, path)


def opened_file(folder: int, name: str) -> int:
    """Return a descriptor of a regular file in an open folder. Raises OSError for all else."""
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", name)
    found = os.open(name, READ, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return found


def status_of(folder: int, name: str) -> Any:  # noqa: ANN401 - a status, or None
    """Return what lstat(2) says of a name in an open folder, None where it is not there."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def removed(folder: int, name: str) -> None:
    """Remove what has this name in an open folder, a folder with all in it; follow no link."""
    status = status_of(folder, name)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    inner = os.open(name, FOLDER, dir_fd=folder)
    try:
        for one in os.listdir(inner):
            removed(inner, one)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def unquoted(text: str) -> str:
    """Return a path as this host's Python has it; it travels quoted (``onhost.quoted``)."""
    return os.fsdecode(unquote_to_bytes(text))


def require_own(folder: int, path: str) -> None:
    """Raise OSError unless an open folder is this user's, and nobody else may write to it."""
    status = os.fstat(folder)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OSError(errno.EPERM, "another user may write to this folder", path)


def made_beneath(folder: int, steps: list[str], mode: int) -> int:
    """Return a descriptor of a folder beneath an open one, made with ``mode`` where not there."""
    current = os.dup(folder)
    for name in steps:
        try:
            if status_of(current, name) is None:
                os.mkdir(name, mode, dir_fd=current)
            deeper = os.open(name, FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = deeper
    return current


def copied(source: int, name: str, target: int, other: str) -> None:
    """Copy a file or a link from one open folder to another, with all that it has, or not at all.

    Raises OSError, also for what is neither.
    """
    removed(target, PART)
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), PART, dir_fd=target)
        os.chown(PART, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    else:
        with open(opened_file(source, name), "rb") as old:
            new = os.open(PART, CREATE, 0o600, dir_fd=target)
            with open(new, "wb") as file:
                shutil.copyfileobj(old, file, 1 << 20)
                file.flush()
                like(old.fileno(), new)
    os.rename(PART, other, src_dir_fd=target, dst_dir_fd=target)


def like(source: int, target: int) -> None:
    """Give an open file or folder the owner, rights, attributes and times of another."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        with contextlib.suppress(OSError):  # the other file system may not have it
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def moved(source: int, name: str, target: int, other: str) -> None:
    """Rename from one open folder to another; where that is not possible, copy and remove.

    That is so between file systems, on an overlay, and where the name is a folder's that is there
    from a call that was interrupted. What is neither file, link nor folder has no content to copy.
    """
    try:
        os.rename(name, other, src_dir_fd=source, dst_dir_fd=target)
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST):
            raise
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        inner = deeper_folder(source, name)
        try:
            there = made_beneath(target, [other], 0o700)
            try:
                like(inner, there)
                for one in os.listdir(inner):
                    moved(inner, one, there, one)
            finally:
                os.close(there)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=source)
        return
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
        copied(source, name, target, other)
    os.unlink(name, dir_fd=source)
