"""Files of this machine that decide what is done: nobody else may own them or write to them.

Whoever may change cloud.yaml, an openrc or a hook decides what its reader runs, as root perhaps. A
file is opened once, component by component (openat(2)), and every folder and link on the way is
checked by its descriptor: what was checked is what is read.
"""

import contextlib
import errno
import grp
import os
import pwd
import re
import shutil
import stat
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

_LONGEST_WAY = 200
# What comes after these is a program or a script as well.
_INTERPRETERS = re.compile(
    r"(?:ba|da|k|z|a|c|tc|fi)?sh|python[0-9.]*|perl|ruby|node|lua|php|busybox|env|sudo|doas|su|runuser"
    r"|exec|nice|ionice|chrt|taskset|timeout|time|nohup|setsid|stdbuf|xargs|flock|setpriv|unshare"
    r"|systemd-run|systemd-cat|chroot|strace"
)
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that nobody writes to would be waited for without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class NotTrusted(Exception):
    """Somebody else may change a file; the text says which, who and how, ``remedy`` what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


class TooLong(Exception):
    """A file is longer than anything of its kind is."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that only this user and root may change; the rest is as in stat(2).

    ``shared``: an access control list lets others read it, whoever the group is.
    """

    file: FileIO
    mode: int
    uid: int
    gid: int
    shared: bool = False

    @property
    def others_may_read(self) -> bool:
        """Return whether everybody may read it, or a group in which anybody else is."""
        if self.mode & stat.S_IROTH:
            return True
        readable = bool(self.mode & stat.S_IRGRP)  # with an ACL its mask
        return readable and (self.shared or not _is_mine_alone(self.gid))


def open_own(path: Path) -> Opened:
    """Open a regular file for reading. The caller closes ``file``.

    Raises NotTrusted where another user than root and this one owns it, or may write to it, to a
    folder or to a link on the way to it. Raises OSError where it cannot be opened, or is no regular
    file.
    """
    way = _Way(path)
    try:
        return Opened(*way.open_file())
    except OSError as error:
        error.filename = str(path)  # not the component's name
        raise
    finally:
        way.close()


def read_own(path: Path, *, most: int) -> bytes:
    """Return the content of a file that ``open_own`` opens.

    Raises TooLong beyond ``most`` bytes, otherwise as ``open_own``.
    """
    opened = open_own(path)
    with opened.file as file:
        content = bytearray()
        while data := file.read(min(1 << 16, most + 1 - len(content))):
            content += data
            if len(content) > most:
                raise TooLong(f"it is longer than {most} bytes")
    return bytes(content)


def check_own(path: Path) -> None:
    """Raise NotTrusted or OSError as ``open_own`` does."""
    open_own(path).file.close()


def check_own_tree(folder: Path) -> None:
    """Raise NotTrusted where others may change a folder, the way to it, or anything in it.

    Where a link in it leads the way is judged, and a file there. Of a folder that is not there the
    one around it is judged: whoever may write there can make it.
    """
    there = folder
    while not there.exists():
        there = there.parent
    way = _Way(there)
    try:
        way.go()
    finally:
        way.close()
    if there != folder:
        return
    if not folder.is_dir():
        check_own(folder)
        return
    for path, folders, files, descriptor in os.fwalk(folder, onerror=_raise):
        for name in (*folders, *files):
            _judge_in(descriptor, name, os.path.join(path, name))


def _raise(error: OSError) -> None:
    raise error


def _judge_in(folder: int, name: str, shown: str) -> None:
    """Judge what has this name in an open folder; what is beneath it is judged by itself."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            _check_owner(shown, found)
            target = Path(shown).resolve()
            if target.is_file():
                check_own(target)
        elif found.st_mode & (stat.S_IWOTH | stat.S_IWGRP) or found.st_uid not in _trusted():
            opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                _check(opened, shown)
            finally:
                os.close(opened)
    except FileNotFoundError:  # it has just been removed, or its link leads nowhere
        return


class _Way:
    """The way to a file: the descriptor of the folder that is reached, and what is left to go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = deque(path.absolute().parts[1:])  # with its `..`: they may follow a link
        self._reached = ["/"]
        self._folder = os.open("/", _FOLDER)

    def close(self) -> None:
        os.close(self._folder)

    def open_file(self) -> tuple[FileIO, int, int, int, bool]:
        """Go the whole way, and return what ``Opened`` consists of."""
        last = self.go(into_last=False)
        if last is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        return self._open(*last)

    def go(self, *, into_last: bool = True) -> tuple[str, os.stat_result] | None:
        """Go the whole way; return the name it ends with, and what is there, if not gone into.

        A folder at its end is gone into only with ``into_last``, a file never.
        """
        _check(self._folder, self._here())
        for _ in range(_LONGEST_WAY):
            if not self._left:
                return None
            name = self._left.popleft()
            found = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                self._follow(name, found)
            elif self._left or (into_last and stat.S_ISDIR(found.st_mode)):
                self._enter(name)
            else:
                return name, found
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(self._path))

    def _here(self, name: str = "") -> str:
        return os.path.join(*self._reached, name) if name else os.path.join(*self._reached)

    def _follow(self, name: str, found: os.stat_result) -> None:
        _check_owner(self._here(name), found)
        target = os.readlink(name, dir_fd=self._folder)
        parts = Path(target).parts
        if target.startswith("/"):
            self._go("/", ["/"], None)
            parts = parts[1:]
        self._left.extendleft(reversed(parts))

    def _enter(self, name: str) -> None:
        up = self._reached[:-1] or ["/"]
        self._go(name, up if name == ".." else [*self._reached, name], self._folder)
        _check(self._folder, self._here())

    def _go(self, name: str, reached: list[str], beneath: int | None) -> None:
        folder = os.open(name, _FOLDER, dir_fd=beneath)
        os.close(self._folder)
        self._folder, self._reached = folder, reached

    def _open(self, name: str, found: os.stat_result) -> tuple[FileIO, int, int, int, bool]:
        shown = self._here(name)
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, a pipe or a socket"
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(self._path))
        file = os.open(name, _READ, dir_fd=self._folder)
        try:
            now = os.fstat(file)
            if not stat.S_ISREG(now.st_mode):
                raise OSError(errno.EINVAL, "it is not a file", str(self._path))
            _check(file, shown)
            self._check_names(now, shown)
            shared = _is_shared(file, _MAY_READ)
            return FileIO(file, "r"), stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid, shared
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(file)
            raise

    def _check_names(self, found: os.stat_result, shown: str) -> None:
        """Refuse what anybody may have given this name: a hard link to another file of root's."""
        folder = os.fstat(self._folder)
        if found.st_nlink > 1 and folder.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
            raise NotTrusted(
                f"{shown} is a second name of a file, in a folder where others may make names",
                f"use a copy of it in a folder of your own (links: {found.st_nlink})",
            )


def _check(descriptor: int, shown: str) -> None:
    """Raise NotTrusted where others may change an open file or folder."""
    found = os.fstat(descriptor)
    _check_owner(shown, found)
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return  # nobody but the owner of what is in it may exchange that
    if found.st_mode & stat.S_IWOTH:
        raise NotTrusted(f"everybody may write to {shown}", f"chmod o-w {shown}")
    if found.st_mode & stat.S_IWGRP and not _is_mine_alone(found.st_gid):
        group = _group(found.st_gid)
        raise NotTrusted(f"the group {group} may write to {shown}", f"chmod g-w {shown}")
    if found.st_mode & stat.S_IWGRP and _is_shared(descriptor, _MAY_WRITE):
        raise NotTrusted(
            f"an access control list lets others write to {shown}", f"setfacl -b {shown}"
        )


def _trusted() -> set[int]:
    return {0, os.geteuid()}


def _check_owner(shown: str, found: os.stat_result) -> None:
    if found.st_uid not in _trusted():
        me = "root" if os.geteuid() == 0 else "root or yourself"
        remedy = (
            f"as root: chown {_user(os.geteuid())} {shown} (if you trust its content), or use "
            f"a file that belongs to {me}"
        )
        if stat.S_ISDIR(found.st_mode):  # perhaps a user's home, who could not log in any more
            remedy = (
                f"use a copy of the file, and of those that it names, in a folder that belongs "
                f"to {me} (/etc/backstay)"
            )
        raise NotTrusted(
            f"{shown} belongs to {_user(found.st_uid)}, who could change what is done by it",
            remedy,
        )


_ACL = "system.posix_acl_access"
_ACL_USER, _ACL_GROUP = 0x02, 0x08
_MAY_READ, _MAY_WRITE = 4, 2


def _is_shared(descriptor: int, right: int) -> bool:
    """Return whether an access control list gives a right to a user or a group that it names.

    Then the rights of the group in the file's mode are the list's mask. ``descriptor`` may be of
    O_PATH. https://man7.org/linux/man-pages/man5/acl.5.html, linux/posix_acl_xattr.h
    """
    try:
        found = os.getxattr(f"/proc/self/fd/{descriptor}", _ACL)
        entries = struct.iter_unpack("<HHI", found[4:])
        return any(
            tag in {_ACL_USER, _ACL_GROUP}
            and rights & right
            and not (tag == _ACL_USER and number in {0, os.geteuid()})
            for tag, rights, number in entries
        )
    except OSError:  # there is none, or the file system has none
        return False
    except struct.error:
        return True


def _is_mine_alone(gid: int) -> bool:
    """Return whether this user and root are the only members of a group, as of many users' own.

    A group of many is asked for only where it may write.
    """
    mine = {"root", _user(os.geteuid())}
    try:
        group = grp.getgrgid(gid)
        members = {*group.gr_mem, *(one.pw_name for one in pwd.getpwall() if one.pw_gid == gid)}
    except (KeyError, OSError):
        return False
    return members <= mine


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def check_command(words: Sequence[str]) -> None:
    """Raise NotTrusted where others could change a program of a command line, or a script.

    Of each command in the line (a shell's ``;``, ``&&``, ``|`` and so on part them) its program is
    judged; after one that runs others (``timeout 10``, ``nice -n 5``, ``sh -c``) what it runs; and
    every other word that is a file which may be executed. What does not exist is not judged:
    running it fails.
    """
    simple = list[str]()
    for word in words:
        first, *others = [word] if _program(word) else _PARTED.split(word)
        simple.append(first)
        for other in others:
            _check_simple(simple)
            simple = [other]
    _check_simple(simple)


def _check_simple(words: Sequence[str]) -> None:
    """Judge one command. Words of a shell that are no programs (``.``, ``!``) run others."""
    awaited = True
    for word in filter(None, words):
        found, inner = _program(word), word.split()
        if found is None and awaited and len(inner) > 1:  # what `sh -c` is given
            check_command(inner)
            continue
        if found is None or not (awaited or os.access(found, os.X_OK)):
            continue
        with contextlib.suppress(OSError):
            check_own(found)
        awaited = awaited and _INTERPRETERS.fullmatch(Path(word).name) is not None


_PARTED = re.compile(r"[;&|()<>`\n]+|\$\(")


def _program(word: str) -> Path | None:
    if "/" in word:
        path = Path(word)
        try:
            return path if path.is_file() else None
        except (OSError, ValueError):  # no name of a file
            return None
    if "\0" in word:
        return None
    found = shutil.which(word)
    return Path(found) if found else None
