"""What a host is asked for its backup. Shipped as text: standard library, Python 3.6."""

import ctypes
import fnmatch
import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

BACKUP_PROGRAMS = ("mariadb-backup", "mariabackup")
DUMP_PROGRAMS = ("mariadb-dump", "mysqldump")
CHUNK_BEGINS = b"XBSTCK01"  # mbstream's; between any two bytes a frame may end and another begin
GRANTS = (
    "SELECT CONCAT(User, '@', Host) FROM mysql.user "
    "UNION SELECT CONCAT(User, '@', Host, ' on ', Db) FROM mysql.db"
)
DUMP_ENDS = b"-- Dump completed"


def manifest(paths: Any, leave_out: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return every file, folder and link under ``paths``, and the packages that are installed.

    An entry is path, kind (f, d, l), mode, owner, group, size, time of change (ns) and the link's
    target. Sockets, devices and pipes are left out. ``users`` and ``groups`` are the names of the
    owners by their numbers: a host that is built again may have other numbers.
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
    users, groups = {entry[3] for entry in found}, {entry[4] for entry in found}
    return {
        "entries": sorted(found),
        "users": {one.pw_uid: one.pw_name for one in pwd.getpwall() if one.pw_uid in users},
        "groups": {one.gr_gid: one.gr_name for one in grp.getgrall() if one.gr_gid in groups},
        "packages": packages(),
    }


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
    """Write a hot backup of the whole server to standard output, as mbstream, compressed.

    https://mariadb.com/kb/en/mariadb-backup-options/; its last word on standard error is the proof.
    What it says there of the binary log's position, which is the backup's own, comes before, and
    after how many bytes there were uncompressed. One file is sent after another: what has not
    changed comes in the same bytes as last time.
    """
    program = next((name for name in BACKUP_PROGRAMS if shutil.which(name)), None)
    if program is None:
        sys.exit("there is no mariadb-backup on this host: apt-get install mariadb-backup")
    with tempfile.TemporaryFile() as errors:
        command = [program, "--backup", "--stream=mbstream", "--user=root", "--parallel=1"]
        backup = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        plain = send_squeezed(backup.stdout)
        status = backup.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
    if status != 0 or not said or not said[-1].endswith("completed OK!"):
        sys.exit(why_not(said))
    positions = [line for line in said if "binlog position: filename" in line]
    told = [*positions[-1:], "uncompressed: " + str(plain), said[-1]]
    sys.stderr.write("\n".join(told) + "\n")


def send_squeezed(source: Any) -> int:  # noqa: ANN401 - a file
    """Write an mbstream to standard output, each of its chunks compressed for itself.

    Returns its length before that. A chunk that is as it was last time thus comes in the same
    bytes, and is stored once.
    """
    squeeze, waiting, length = squeezer(), bytearray(), 0
    while True:
        data = source.read(1 << 20)
        length += len(data)
        looked = max(1, len(waiting) - len(CHUNK_BEGINS) + 1)
        waiting += data
        at = waiting.find(CHUNK_BEGINS, looked) if data else len(waiting)
        while at > 0:
            sys.stdout.buffer.write(squeeze(bytes(waiting[:at])))
            del waiting[:at]
            at = waiting.find(CHUNK_BEGINS, 1)
        if not data:
            break
    sys.stdout.flush()
    return length


def squeezer() -> Any:  # noqa: ANN401 - a function of bytes
    """Return what makes a zstd frame of bytes, or leaves them as they are without libzstd.

    The library comes with dpkg and rpm. https://facebook.github.io/zstd/zstd_manual.html
    """
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return bytes
    size = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes, library.ZSTD_compressBound.restype = [size], size
    library.ZSTD_compress.argtypes = [ctypes.c_void_p, size, ctypes.c_char_p, size, ctypes.c_int]
    library.ZSTD_compress.restype = size
    library.ZSTD_isError.argtypes = [size]

    rooms = [ctypes.create_string_buffer(1)]  # one for all: fresh memory costs as much again

    def squeeze(piece: Any) -> Any:  # noqa: ANN401 - bytes
        needed = library.ZSTD_compressBound(len(piece))
        if needed > len(rooms[0]):
            rooms[0] = ctypes.create_string_buffer(needed)
        length = library.ZSTD_compress(rooms[0], needed, piece, len(piece), 1)
        if library.ZSTD_isError(length):
            raise OSError("zstd cannot compress")
        return memoryview(rooms[0])[:length]

    return squeeze


def send_dump() -> None:
    """Write a dump of all databases but the server's own, then its users, to standard output.

    https://mariadb.com/kb/en/mariadb-dump/: one point in time for InnoDB's tables, no lock but for
    an instant; an ALTER meanwhile makes it fail with error 1412. Users alone are dumped of the
    system's tables: without --insert-ignore the dump stops at the first user that is there already.
    """
    own = ("mysql", "information_schema", "performance_schema", "sys")
    names = [name for name in query("SHOW DATABASES") if name not in own]
    logs = query("SELECT @@log_bin") == ["1"]  # without a binary log there is no position to tell
    send_dumped(
        ["--single-transaction", "--quick", *(["--master-data=2", "--gtid"] if logs else []),
         "--routines", "--events", "--triggers", "--hex-blob", "--max-allowed-packet=1G",
         "--databases", *names]
    )  # fmt: skip
    send_dumped(["--system=users", "--insert-ignore"])
    sys.stdout.flush()


def send_dumped(arguments: Any) -> None:  # noqa: ANN401 - JSON data
    """Write one dump to standard output, and end with its error where it is not whole."""
    program = next((name for name in DUMP_PROGRAMS if shutil.which(name)), None)
    if program is None:
        sys.exit("there is no mariadb-dump on this host: apt-get install mariadb-client")
    with tempfile.TemporaryFile() as errors:
        command = [program, "--user=root", *arguments]
        dump = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        assert dump.stdout is not None  # noqa: S101 - it was asked for
        last = b""
        while True:
            data = dump.stdout.read(1 << 18)
            if not data:
                break
            sys.stdout.buffer.write(data)
            last = (last + data)[-200:]
        status = dump.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
    if status != 0 or DUMP_ENDS not in last:
        sys.exit(said[-1] if said else "mariadb-dump's last line is missing")


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
    """Return the server's version, its binary log files, and every table's number of rows.

    ``logs`` are the files' identities, as ``transports.binlogfile`` has them; ``touched`` are the
    tables that were written to since a time of this host's clock (Unix).
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
        "grants": query(GRANTS),
        "clock": time.time(),
        "version": query("SELECT VERSION()")[0],
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
