"""What a host is asked for of its database. Shipped as text: see onhost."""

import ctypes
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from backstay.backup.mariadb.sql import identifier, is_log_name, listed, table_identifier
from backstay.jsondata import Json

BACKUP_PROGRAMS = ("mariadb-backup", "mariabackup")
TAKEN_WITHIN = 60.0
ENDED_WITHIN = 60.0
DUMP_PROGRAMS = ("mariadb-dump", "mysqldump")
CHUNK_BEGINS = b"XBSTCK01"  # mbstream's; between any two bytes a frame may end and another begin
GRANTS = (
    "SELECT CONCAT(User, '@', Host) FROM mysql.user "
    "UNION SELECT CONCAT(User, '@', Host, ' on ', Db) FROM mysql.db"
)
DUMP_ENDS = b"-- Dump completed"


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
    status, said, plain = handed_on(
        [program, "--backup", "--stream=mbstream", "--user=root", "--parallel=1"], send_squeezed
    )
    if status != 0 or not said or not said[-1].endswith("completed OK!"):
        sys.exit(why_not(said))
    positions = [line for line in said if "binlog position: filename" in line]
    report = [*positions[-1:], "uncompressed: " + str(plain), said[-1]]
    sys.stderr.write("\n".join(report) + "\n")


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
            send(squeeze(bytes(waiting[:at])))
            del waiting[:at]
            at = waiting.find(CHUNK_BEGINS, 1)
        if not data:
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
    for name in names:
        identifier(name)  # raises: a name that is not usual is no argument
    logs = query("SELECT @@log_bin") == ["1"]  # without a binary log there is no position
    send_dumped(
        [
            "--single-transaction",
            "--quick",
            *(["--master-data=2", "--gtid"] if logs else []),
            "--routines",
            "--events",
            "--triggers",
            "--hex-blob",
            "--max-allowed-packet=1G",
            "--databases",
            "--",
            *names,
        ]
    )
    send_dumped(["--system=users", "--insert-ignore"])


def send_dumped(arguments: Json) -> None:
    """Write one dump to standard output, and end with its error where it is not whole."""
    program = next((name for name in DUMP_PROGRAMS if shutil.which(name)), None)
    if program is None:
        sys.exit("there is no mariadb-dump on this host: apt-get install mariadb-client")
    status, said, last = handed_on([program, "--user=root", *arguments], send_plain)
    if status != 0 or DUMP_ENDS not in last:
        sys.exit(said[-1] if said else "mariadb-dump's last line is missing")


def handed_on(command: Any, hand_on: Any) -> Any:  # noqa: ANN401 - words, a function
    """Run a program whose output ``hand_on`` sends; return its status, its errors, that's result.

    The program is killed where its output is not read for a while: after a cut of the network the
    other end stays open for hours (sshd's default), and it would hold the server's locks.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            result = hand_on(process.stdout)
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=ENDED_WITHIN)  # until it has ended it may hold its locks
        errors.seek(0)
        return status, errors.read().decode(errors="replace").strip().splitlines(), result


def send_plain(source: Any) -> bytes:  # noqa: ANN401 - a file
    """Send all of a file as it is; return its last bytes."""
    last = b""
    while True:
        data = source.read(1 << 18)
        if not data:
            return last
        last = (last + data)[-200:]
        send(data)


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
            raise OSError(f"it accepted nothing for {TAKEN_WITHIN:g} s")
        try:
            left = left[os.write(1, left) :]
        except BlockingIOError:
            continue


def why_not(said: Json) -> Json:
    """Return why mariadb-backup failed, from its lines: the first that is an error.

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
    return "mariadb-backup failed without a reason"


def database_facts(databases: Json, since: Json) -> Json:
    """Return the server's version, its binary log files, and every table's number of rows.

    ``logs`` are the files' identities, as ``transports.binlogfile`` has them; ``touched`` are the
    tables that were written to since a time of this host's clock (Unix).
    """
    among = listed(databases)
    tables = query(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE "
        "table_type = 'BASE TABLE' AND table_schema IN " + among
    )
    # By number: whoever may make a table chooses its name.
    counting = " UNION ALL ".join(
        "SELECT " + str(number) + ", COUNT(*) FROM " + table_identifier(table)
        for number, table in enumerate(tables)
    )
    counts = [line.split("\t") for line in query(counting)] if tables else []
    status = query("SHOW MASTER STATUS")
    touched = query(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE "
        "update_time >= FROM_UNIXTIME(" + str(int(since)) + ") AND table_schema IN " + among
    )
    with_alembic = query(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'alembic_version' "
        "AND table_schema IN " + among
    )
    return {
        "schemas": {
            name: sorted(query("SELECT version_num FROM " + identifier(name) + ".alembic_version"))
            for name in with_alembic
        },
        "touched": touched,
        "grants": query(GRANTS),
        "clock": time.time(),
        "version": query("SELECT VERSION()")[0],
        "logs": {name: report for name, _, report in binary_logs()["files"]} if status else {},
        "rows": {tables[int(number)]: int(count) for number, count in counts},
    }


def binary_logs() -> Json:
    """Return where the server's socket is, and name, size and identity of each binary log file.

    An identity is as ``transports.binlogfile`` has it; empty where the file went away meanwhile.
    """
    socket, base = query("SELECT @@socket, IFNULL(@@log_bin_basename, '')")[0].split("\t")
    files = []
    for line in query("SHOW BINARY LOGS") if base else []:
        name, size = line.split("\t")[:2]
        if not is_log_name(name):
            raise OSError("MariaDB names a binary log file " + ascii(name[:80]))
        try:
            with open(os.path.join(os.path.dirname(base), name), "rb") as file:
                identity = file.read(17)[4:].hex()
        except OSError:
            identity = ""
        files.append([name, int(size), identity])
    return {"socket": socket, "files": files}


def database_sizes(databases: Json) -> Json:
    """Return about how many bytes of data and indexes each database has."""
    lines = query(
        "SELECT table_schema, SUM(data_length + index_length) FROM information_schema.tables "
        "WHERE table_type = 'BASE TABLE' AND table_schema IN " + listed(databases) + " GROUP BY 1"
    )
    return {name: int(length) for name, length in (line.split("\t") for line in lines)}


def query(text: str, before: str = "DO 0") -> list[str]:
    """Return the lines of an answer of MariaDB's, asked as its root by the socket.

    It is one statement, ``before`` another that sets what it needs. Names and texts in it are of
    ``sql``'s functions. The client itself carries out nothing.
    """
    options = ["--batch", "--skip-column-names", "--binary-mode", "--local-infile=0"]
    done = subprocess.run(
        ["mariadb", *options, "--init-command=" + before],
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout.decode(errors="replace").split("\n")[:-1]
