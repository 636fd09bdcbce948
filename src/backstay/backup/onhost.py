"""What a host is asked for its backup. Shipped as text: standard library, Python 3.6."""

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

from backstay.jsondata import Json


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
    """Return what another host must have alike: release and architecture, and memory (bytes)."""
    release = dict(line.split("=", 1) for line in lines("/etc/os-release") if "=" in line)
    memory = [line.split()[1] for line in lines("/proc/meminfo") if line.startswith("MemTotal:")]
    return {
        "id": release.get("ID", "").strip('"'),
        "release": release.get("VERSION_ID", "").strip('"'),
        "codename": release.get("VERSION_CODENAME", "").strip('"'),
        "architecture": os.uname().machine,
        "memory": int(memory[0]) * 1024 if memory else 0,
    }


def lines(path: Json) -> Json:
    """Return a small file's lines, none where it cannot be read."""
    try:
        with open(path) as file:  # noqa: PTH123 - as short
            return file.read().splitlines()
    except OSError:
        return []


def listing(paths: Json, leave_out: Json) -> Json:
    """Return every file, folder and link under ``paths``, and the time of this host's clock.

    An entry is path, kind (f, d, l), mode, owner, group, size, time of change (ns) and the link's
    target. Sockets, devices and pipes are left out. ``users`` and ``groups`` are the names of the
    owners by their numbers: a host that is built again may have other numbers.
    """
    clock = time.time()
    found = []
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if any(fnmatch.fnmatch(path, pattern) for pattern in leave_out):
            continue
        try:
            status = os.lstat(path)
            target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""  # noqa: PTH115
            inside = os.listdir(path) if stat.S_ISDIR(status.st_mode) else []  # noqa: PTH208
        except OSError:
            continue  # it is not there, or not any more
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(
            stat.S_IFMT(status.st_mode)
        )
        if kind is None:
            continue
        found.append(
            [
                path,
                kind,
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_size,
                status.st_mtime_ns,
                target,
            ]
        )
        waiting.extend(os.path.join(path, name) for name in inside)  # noqa: PTH118
    users, groups = {entry[3] for entry in found}, {entry[4] for entry in found}
    return {
        "entries": sorted(found),
        "users": {one.pw_uid: one.pw_name for one in pwd.getpwall() if one.pw_uid in users},
        "groups": {one.gr_gid: one.gr_name for one in grp.getgrall() if one.gr_gid in groups},
        "clock": clock,
    }


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
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - as short
        return {"boot_id": file.read().strip()}


def exported(commands: Json) -> Json:
    """Return what commands print, by the name of the file that it is to be kept in."""
    found = {}
    for name, command in commands.items():
        done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
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
        found[name] = done.stdout.decode(errors="replace")
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


def send_files(paths: Json) -> None:
    """Write a tar archive of the files to standard output; those gone meanwhile are left out."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", bufsize=1 << 18) as archive:
        for path in paths:
            try:
                archive.add(path, recursive=False)
            except OSError:
                continue
    sys.stdout.flush()
