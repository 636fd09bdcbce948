"""What a host is asked for its backup. Shipped as text: standard library, Python 3.6."""

import fnmatch
import os
import re
import select
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

BACKUP_PROGRAMS = ("mariadb-backup", "mariabackup")
TAKEN_WITHIN = 60.0


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
    """
    program = next((name for name in BACKUP_PROGRAMS if shutil.which(name)), None)
    if program is None:
        sys.exit("there is no mariadb-backup on this host: apt-get install mariadb-backup")
    with tempfile.TemporaryFile() as errors:
        command = [program, "--backup", "--stream=mbstream", "--user=root", "--parallel=2"]
        backup = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        assert backup.stdout is not None  # noqa: S101 - it was asked for
        try:
            while True:
                data = backup.stdout.read(1 << 18)
                if not data:
                    break
                send(data)
        except OSError as error:
            backup.kill()
            sys.exit("nobody takes the backup any more: " + str(error))
        status = backup.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
    if status != 0 or not said or not said[-1].endswith("completed OK!"):
        sys.exit(why_not(said))
    sys.stderr.write(said[-1] + "\n")


def send(data: Any) -> None:  # noqa: ANN401 - bytes
    """Write to standard output. Raises OSError where nothing is taken for a minute.

    mariadb-backup holds the server's backup lock while it writes, and for an instant every commit:
    it must not go on waiting on a host that was cut off, whose own TCP gives up after a quarter of
    an hour. https://mariadb.com/kb/en/backup-stage/
    """
    left = memoryview(data)
    os.set_blocking(1, False)
    while left:
        if not select.select([], [1], [], TAKEN_WITHIN)[1]:
            raise OSError(f"it took nothing for {TAKEN_WITHIN:g} s")
        try:
            left = left[os.write(1, left) :]
        except BlockingIOError:
            continue


def why_not(said: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return why mariadb-backup failed, from its lines: the first that tells of an error.

    Of a page that is damaged it prints the content too, which may be a secret: never that.
    """
    for line in said:
        found = re.match(r"\[\d+\] (?:FATAL ERROR: )?[\d-]+ [\d:]+ (.*rror: .*)", line)
        if found:
            table = re.search(r"File \./(\w+)/(\w+)\.ibd seems to be corrupted", found[1])
            damaged = (
                "the table {}.{} is damaged on its disk: ".format(*table.groups()) if table else ""
            )
            return damaged + found[1][-300:]
    return "mariadb-backup failed, and did not say why"


def database_facts(databases: Any, since: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return the server's version and binary-log position, and every table's number of rows.

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
        "rows": {table: int(count) for table, count in rows.items()},
    }


def database_sizes(databases: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return about how many bytes of data and indexes each database has."""
    listed = ",".join("'" + name + "'" for name in databases)
    lines = query(
        "SELECT table_schema, SUM(data_length + index_length) FROM information_schema.tables "  # noqa: S608 - names of Backstay's own
        "WHERE table_type = 'BASE TABLE' AND table_schema IN (" + listed + ") GROUP BY 1"
    )
    return {name: int(length) for name, length in (line.split("\t") for line in lines)}


def query(text: str) -> Any:  # noqa: ANN401 - JSON data
    """Return the lines of an answer of MariaDB's, asked as its root by the socket."""
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        ["mariadb", "--batch", "--skip-column-names"], input=text.encode(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout.decode(errors="replace").splitlines()
