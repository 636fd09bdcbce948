"""What a host is asked for its backup. Shipped as text: standard library, Python 3.6."""

import fnmatch
import os
import stat
import subprocess
import sys
import tarfile
import time
from typing import Any

BACKUP_PROGRAMS = ("mariadb-backup", "mariabackup")


def manifest(paths: Any, leave_out: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return every file, folder and link under ``paths``, and the packages that are installed.

    An entry is path, kind (f, d, l), mode, owner, group, size, time of change (ns) and the link's
    target. Sockets, devices and pipes are left out.
    """
    found = []
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if any(fnmatch.fnmatch(path, pattern) for pattern in leave_out):
            continue
        try:
            told = os.lstat(path)
            target = os.readlink(path) if stat.S_ISLNK(told.st_mode) else ""  # noqa: PTH115
        except OSError:
            continue  # it is not there, or not any more
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(
            stat.S_IFMT(told.st_mode)
        )
        if kind is None:
            continue
        found.append(
            [path, kind, stat.S_IMODE(told.st_mode), told.st_uid, told.st_gid, told.st_size,
             told.st_mtime_ns, target]
        )  # fmt: skip
        if kind == "d":
            waiting.extend(os.path.join(path, name) for name in os.listdir(path))  # noqa: PTH118, PTH208
    return {"entries": sorted(found), "packages": packages()}


def boot_id() -> Any:  # noqa: ANN401 - JSON data
    """Return the boot id of this host."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - as short
        return {"boot_id": file.read().strip()}


def exported(commands: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return what commands print, by the name of the file that it is to be kept in."""
    found = {}
    for name, command in commands.items():
        done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-200:]
            raise OSError(" ".join(command) + ": " + said)
        found[name] = done.stdout.decode(errors="replace")
    return found


def packages() -> Any:  # noqa: ANN401 - JSON data
    """Return name and version of every package that dpkg has installed."""
    command = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n"]
    try:
        shown = subprocess.run(command, stdout=subprocess.PIPE, timeout=30, check=False)
    except OSError:
        return []
    return shown.stdout.decode(errors="replace").splitlines()


def send_files(paths: Any) -> None:  # noqa: ANN401 - JSON data
    """Write a tar archive of the files to standard output; those gone meanwhile are left out."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", bufsize=1 << 18) as archive:
        for path in paths:
            try:
                archive.add(path, recursive=False)
            except OSError:
                continue
    sys.stdout.flush()


def send_database() -> None:
    """Write a hot backup of the whole server to standard output, as mbstream.

    https://mariadb.com/kb/en/mariadb-backup-options/; its last word on standard error is the proof.
    What it says there of the binary log's position, which is the backup's own, comes before.
    """
    for program in BACKUP_PROGRAMS:
        command = [program, "--backup", "--stream=mbstream", "--user=root", "--parallel=2"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
            )
        except OSError:
            continue  # it has another name, or is not installed
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode != 0 or not said or not said[-1].endswith("completed OK!"):
            sys.exit(said[-1] if said else "mariadb-backup failed without a word")
        positions = [line for line in said if "binlog position: filename" in line]
        sys.stderr.write("\n".join([*positions[-1:], said[-1]]) + "\n")
        return
    sys.exit("there is no mariadb-backup on this host: apt-get install mariadb-backup")


def database_facts(databases: Any, since: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return the server's version and binary-log position, and every table's number of rows.

    ``logs`` identify its binary log files.
    ``touched`` are the tables that were written to since a time of this host's clock (Unix).
    """
    listed = ",".join("'" + name + "'" for name in databases)
    tables = query(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE "  # noqa: S608 - names of Backstay's own
        "table_type = 'BASE TABLE' AND table_schema IN (" + listed + ")"
    )
    counting = " UNION ALL ".join(
        "SELECT '" + table + "', COUNT(*) FROM `" + table.replace(".", "`.`", 1) + "`"  # noqa: S608 - the server's
        for table in tables
    )
    rows = dict(line.split("\t") for line in query(counting)) if tables else {}
    status = query("SHOW MASTER STATUS")
    touched = query(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE "  # noqa: S608 - as above
        "update_time >= FROM_UNIXTIME(" + str(int(since)) + ") AND table_schema IN (" + listed + ")"
    )
    with_alembic = query(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'alembic_version' "  # noqa: S608 - as above
        "AND table_schema IN (" + listed + ")"
    )
    return {
        "schemas": {
            name: sorted(query("SELECT version_num FROM `" + name + "`.alembic_version"))  # noqa: S608
            for name in with_alembic
        },
        "touched": touched,
        "clock": time.time(),
        "version": query("SELECT VERSION()")[0],
        "position": status[0].split("\t")[:2] if status else [],
        "logs": {name: told for name, _, told in binary_logs()["files"]} if status else {},
        "rows": {table: int(count) for table, count in rows.items()},
    }


def binary_logs() -> Any:  # noqa: ANN401 - JSON data
    """Return where the server's socket is, and name, size and identity of each binary log file.

    An identity is as ``transports.binlogfile`` has it; empty where the file went away meanwhile.
    """
    socket, base = query("SELECT @@socket, IFNULL(@@log_bin_basename, '')")[0].split("\t")
    files = []
    for line in query("SHOW BINARY LOGS") if base else []:
        name, size = line.split("\t")[:2]
        try:
            with open(os.path.join(os.path.dirname(base), name), "rb") as file:  # noqa: PTH118, PTH120, PTH123
                identity = file.read(17)[4:].hex()
        except OSError:
            identity = ""
        files.append([name, int(size), identity])
    return {"socket": socket, "files": files}


def query(text: str) -> Any:  # noqa: ANN401 - JSON data
    """Return the lines of an answer of MariaDB's, asked as its root by the socket."""
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        ["mariadb", "--batch", "--skip-column-names"], input=text.encode(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout.decode(errors="replace").splitlines()
