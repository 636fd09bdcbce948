"""What a host is asked for its backup. Shipped as text: standard library, Python 3.6."""

import errno
import fnmatch
import grp
import json
import os
import pwd
import stat
import subprocess
import sys
import tarfile
import time
from urllib.parse import quote_from_bytes, unquote_to_bytes

from backstay.backup.onhost_paths import (
    deeper_folder,
    opened,
    opened_file,
    status_of,
    steps_of,
    unquoted,
    way_to,
)
from backstay.jsondata import Json

PLAIN = "".join(chr(code) for code in range(32, 127) if code != 37)
"""What stands for itself in a quoted text: printable ASCII but for %."""
DEEPEST = 200
LONGEST = 4095
FEW = 20


def manifest(paths: Json, leave_out: Json) -> Json:
    """Return what ``listing`` does, and what this host is: packages, release, units at boot."""
    return dict(
        listing(paths, leave_out),
        packages=packages(),
        manual=printed(["apt-mark", "showmanual"]),
        enabled=[
            line.split()[0]
            for line in printed(["systemctl", "list-unit-files", "--no-legend", "--state=enabled"])
            if line.strip()
        ],
        machine=machine(),
    )


def machine() -> Json:
    """Return what another host must have alike: release and architecture, and memory (bytes).

    And what no other has: the ids of this machine.
    """
    release = dict(line.split("=", 1) for line in lines("/etc/os-release") if "=" in line)
    memory = [line.split()[1] for line in lines("/proc/meminfo") if line.startswith("MemTotal:")]
    return {
        "id": release.get("ID", "").strip('"'),
        "release": release.get("VERSION_ID", "").strip('"'),
        "codename": release.get("VERSION_CODENAME", "").strip('"'),
        "architecture": os.uname().machine,
        "memory": int(memory[0]) * 1024 if memory else 0,
        "uuid": firmware("product_uuid"),
        "serial": firmware("product_serial"),
    }


def firmware(name: str) -> str:
    """Return an id that the firmware gives, empty in a container: there it is its machine's."""
    marks = ("/run/systemd/container", "/.dockerenv", "/etc/backstay/lab-network")
    if any(os.path.exists(mark) for mark in marks):
        return ""
    found = lines("/sys/class/dmi/id/" + name)
    return str(found[0]).strip() if found else ""


def lines(path: Json) -> Json:
    """Return a small file's lines, none where it cannot be read."""
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def listing(paths: Json, leave_out: Json) -> Json:
    """Return every file, folder and link under ``paths``, and the time of this host's clock.

    An entry is path, kind (f, d, l), mode, owner, group, size, time of change (ns) and the link's
    target; path and target are ``quoted``. Links are never followed but on the way to ``paths``
    (see ``onhost_paths``). Sockets, devices and pipes are left out. ``users`` and ``groups`` are
    the names of the owners by their numbers: a host that is built again may have other numbers.
    ``left_out`` are files that could not be listed: how many, and some.
    """
    clock = time.time()
    found: dict[str, Json] = {}
    lost: list[str] = []
    for path in paths:
        steps = steps_of(path)
        try:
            above = opened("/" + "/".join(steps[:-1]), way_to(path, paths))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                lost.append(path + ": " + str(error.strerror))
            elif os.path.lexists(path):
                lost.append(path + ": another user's link leads to it")
            continue  # it is not there
        try:
            look_at(above, steps[-1] if steps else ".", path, leave_out, (found, lost))
        finally:
            os.close(above)
    users, groups = {entry[3] for entry in found.values()}, {entry[4] for entry in found.values()}
    return {
        "quoted": True,
        "entries": [found[path] for path in sorted(found)],
        "users": {one.pw_uid: one.pw_name for one in pwd.getpwall() if one.pw_uid in users},
        "groups": {one.gr_gid: one.gr_name for one in grp.getgrall() if one.gr_gid in groups},
        "left_out": {"count": len(lost), "some": [ascii(one)[1:-1] for one in lost[:FEW]]},
        "clock": clock,
    }


def look_at(folder: Json, name: Json, path: Json, leave_out: Json, into: Json) -> None:
    """Add what is in an open folder under this name, and all that lies beneath.

    ``into`` are entries by path, and a list of what could not be listed.
    """
    found, lost = into
    if path in found or any(fnmatch.fnmatch(path, pattern) for pattern in leave_out):
        return
    try:
        status = status_of(folder, name)
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(
            stat.S_IFMT(status.st_mode) if status else 0
        )
        if kind is None:
            return
        if path.count("/") > DEEPEST or len(os.fsencode(path)) > LONGEST:
            lost.append(path[:100] + ": its path is too long")
            return
        target = os.readlink(name, dir_fd=folder) if kind == "l" else ""
        if kind == "d":
            inner = deeper_folder(folder, name)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            lost.append(path + ": " + str(error.strerror))
        return  # else it is not there any more, or has just become something else
    found[path] = [
        quoted(path),
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        quoted(target),
    ]
    if kind == "d":
        try:
            for one in os.listdir(inner):
                deeper = path.rstrip("/") + "/" + one
                look_at(inner, one, deeper, leave_out, into)
        finally:
            os.close(inner)


def quoted(name: Json) -> Json:
    """Return a text in printable ASCII: it arrives as it is, whatever bytes it has."""
    return quote_from_bytes(os.fsencode(name), safe=PLAIN)


def watch(paths: Json, leave_out: Json, pause: Json) -> None:
    """Write a line of JSON again and again: what ``listing`` returns, or the clock alone.

    The latter where nothing has changed since. Looking takes a tenth of the time at most.
    """
    before = None
    while True:
        started = time.monotonic()
        found = listing(paths, leave_out)
        changed = found["entries"] != before
        before = found["entries"]
        sys.stdout.write(json.dumps(found if changed else {"clock": found["clock"]}) + "\n")
        sys.stdout.flush()
        time.sleep(max(pause, 9 * (time.monotonic() - started)))


def boot_id() -> Json:
    """Return the boot id of this host."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return {"boot_id": file.read().strip()}


def exported(commands: Json) -> Json:
    """Return what commands print, quoted, by the name of the file that it is to be kept in."""
    found = {}
    for name, command in commands.items():
        done = subprocess.run(  # capture_output came with Python 3.7
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-200:]
            raise OSError(" ".join(command) + ": " + said)
        found[name] = quote_from_bytes(done.stdout, safe=PLAIN)
    return found


def packages() -> Json:
    """Return name and version of every package that dpkg has installed."""
    shown = printed(
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package} ${Version}\\n"]
    )
    return [line.split(" ", 1)[1].strip() for line in shown if line[1:2] == "i"]


def printed(command: Json) -> Json:
    """Return the lines that a program prints, none where it is not there."""
    try:
        shown = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
    except OSError:
        return []
    return shown.stdout.decode(errors="replace").splitlines()


def send_files(paths: Json, declared: Json = ()) -> None:
    """Write a tar archive of the files to standard output; those gone meanwhile are left out.

    ``paths`` are quoted, and lie below ``declared``, to which alone links may lead. What is not a
    regular file any more is left out; a file that is there under several names is sent for each.
    """
    folder, there = None, ""
    # Names go as the bytes that they are, whatever this host's locale is.
    writing = tarfile.open(  # noqa: SIM115 - closed below
        fileobj=sys.stdout.buffer,
        mode="w|",
        bufsize=1 << 18,
        format=tarfile.GNU_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
    )
    with writing as archive:
        setattr(archive, "copybufsize", 1 << 18)  # noqa: B010 - since Python 3.7
        for one in paths:
            path = unquoted(one)
            above, _, name = path.rpartition("/")
            try:
                if folder is None or above != there:
                    if folder is not None:
                        os.close(folder)
                        folder = None
                    folder, there = opened(above or "/", way_to(path, declared)), above
                descriptor = opened_file(folder, name)
            except OSError:
                continue
            with open(descriptor, "rb") as file:
                name = unquote_to_bytes(one).decode("utf-8", "surrogateescape")
                member = tarfile.TarInfo(name.lstrip("/"))
                member.size = os.fstat(descriptor).st_size
                try:
                    archive.addfile(member, file)
                except OSError as error:
                    raise OSError("{}: {}".format(path, error)) from error
    sys.stdout.flush()
