"""What a host does to be given its databases straight from a backup. Shipped as text: see onhost.

It is made beside what the server uses, which runs on meanwhile.
"""

import contextlib
import ctypes
import glob
import os
import pwd
import shutil
import stat
import subprocess
import sys
from typing import IO, Any

from backstay.backup.mariadb.onhost_database import query
from backstay.backup.mariadb.settings import plain_settings
from backstay.backup.mariadb.sql import identifier, is_word, literal
from backstay.backup.onhost_paths import deeper_folder
from backstay.backup.onhost_restore import free, fresh, said, zstd

PREPARE_PROGRAMS = ("mariadb-backup", "mariabackup")
TOOLS_OWN = ("backup-my.cnf", "xtrabackup_*", "mariadb_backup_*", "ib_buffer_pool", "ibtmp1")
FRAME_BEGINS = b"\x28\xb5\x2f\xfd"
PIECE = 1 << 20


def look() -> dict[str, Any]:
    """Return what decides whether this host can take a backup; makes nothing."""
    folder = data_folder()
    there = folder if os.path.isdir(folder) else os.path.dirname(folder)
    owner = os.stat(there)
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name if there == folder else "mysql"
    except KeyError:
        name = "mysql"
    return {
        "data": folder,
        "owner": name,
        "own_mount": os.path.ismount(folder),
        "server": said(["mariadbd", "--version"]) or said(["/usr/sbin/mariadbd", "--version"]),
        "free_data": free(there),
        "zstd": zstd() is not None,
        "fills": bool(zstd() and preparer() and shutil.which("mbstream")),
        "has": {program: bool(shutil.which(program)) for program in ("tar", "systemctl")},
    }


def preparer() -> Any:  # noqa: ANN401 - a name, or None
    """Return the program that makes the files of a hot backup consistent."""
    return next((name for name in PREPARE_PROGRAMS if shutil.which(name)), None)


def data_folder() -> str:
    """Return the data directory that the server's own option files name."""
    lines = said(["my_print_defaults", "--mysqld"]).splitlines()
    named = [line.partition("=")[2] for line in lines if line.startswith("--datadir=")]
    return (named[-1] if named else "/var/lib/mysql").rstrip("/")


def fill(folder: str, owner: str) -> None:
    """Make a data directory of the backup on standard input, as ``send_database`` wrote it.

    ``folder`` is emptied first; a torn backup ends it with an error. What is left belongs to
    ``owner``. https://mariadb.com/kb/en/full-backup-and-restore-with-mariadb-backup/
    """
    place = fresh(folder)
    unpack = subprocess.Popen(
        ["mbstream", "-x", "-C", "/proc/self/fd/" + str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[place],
    )
    if unpack.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # its own last words say more
            unpacked(sys.stdin.buffer, unpack.stdin)
    end(unpack, "mbstream")
    keep_plain_settings(os.path.join(folder, "backup-my.cnf"))
    program = preparer()
    prepare = subprocess.Popen(
        [program, "--prepare", "--target-dir=" + folder, "--use-memory=256M"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = end(prepare, program)
    if not said or not said[-1].endswith("completed OK!"):
        sys.exit(program + " --prepare did not say that it completed")
    for pattern in TOOLS_OWN:
        for path in glob.glob(os.path.join(folder, pattern)):
            os.unlink(path)
    give(place, pwd.getpwnam(owner))
    os.close(place)


def give(folder: int, owner: pwd.struct_passwd) -> None:
    """Give an open folder and all that is in it to a user, the folder last: then it is theirs.

    From that moment on they can exchange what is in it, and nothing there is touched any more.
    """
    for name in os.listdir(folder):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = deeper_folder(folder, name)
            give(inner, owner)
            os.close(inner)
        else:
            os.chown(name, owner.pw_uid, owner.pw_gid, dir_fd=folder, follow_symlinks=False)
    os.fchown(folder, owner.pw_uid, owner.pw_gid)


def keep_plain_settings(path: str) -> None:
    """Write the settings of a backup anew: what they would load or read elsewhere is left out."""
    with open(path, errors="replace") as file:
        text = file.read(1 << 20)
    os.unlink(path)
    with open(path, "x") as file:
        file.write(plain_settings(text))


def end(process: Any, name: str) -> Any:  # noqa: ANN401 - a process; lines
    """Wait for a program, and end with its last words where it failed; return its errors' lines."""
    _, errors = process.communicate()
    lines = errors.decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        sys.exit(lines[-1][-300:] if lines else name + " ended with " + str(process.returncode))
    return lines


def unpacked(source: IO[bytes], target: IO[bytes]) -> None:
    """Write what frames of zstd hold, one after another; what is none is handed on as it is.

    https://facebook.github.io/zstd/zstd_manual.html#Chapter9
    """
    piece = source.read(PIECE)
    if piece[:4] != FRAME_BEGINS:
        while piece:
            target.write(piece)
            piece = source.read(PIECE)
        return
    library = zstd()
    size, address = ctypes.c_size_t, ctypes.c_void_p

    class Buffer(ctypes.Structure):
        _fields_ = [("at", address), ("size", size), ("done", size)]

    library.ZSTD_createDStream.restype = address
    library.ZSTD_decompressStream.argtypes = [address, address, address]
    library.ZSTD_decompressStream.restype = size
    library.ZSTD_isError.argtypes = [size]
    stream, room, left = library.ZSTD_createDStream(), ctypes.create_string_buffer(PIECE), 0
    view = memoryview(room)
    while piece:
        given = Buffer(ctypes.cast(ctypes.c_char_p(piece), address), len(piece), 0)
        full = False
        while given.done < given.size or full:
            made = Buffer(ctypes.cast(room, address), PIECE, 0)
            left = library.ZSTD_decompressStream(stream, ctypes.byref(made), ctypes.byref(given))
            if library.ZSTD_isError(left):
                raise OSError("the data received are incomplete")
            target.write(view[: made.done])
            full = made.done == PIECE
        piece = source.read(PIECE)
    if left:
        raise OSError("the data received are incomplete")


def load(database: str, charset: str, collation: str) -> None:
    """Load a dump from standard input into an empty database of that name."""
    if not is_word(charset) or not is_word(collation):
        raise OSError("the character set of " + ascii(database) + " has no usual name")
    name = identifier(database)
    query("DROP DATABASE IF EXISTS " + name)
    query("CREATE DATABASE " + name + " CHARACTER SET " + charset + " COLLATE " + collation)
    done = subprocess.run(
        ["mariadb", "--binary-mode", "--local-infile=0", "--loose-sandbox", "--", database],
        stdin=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stderr.decode(errors="replace").strip()[-300:])


def swap_tables(pairs: list[list[str]]) -> dict[str, Any]:
    """Rename all tables of databases away, and the restored ones to their places, at one time.

    ``pairs`` are database, restored database, and database in which what was there is kept. Foreign
    keys follow their tables: https://mariadb.com/kb/en/rename-table/
    """
    renames, kept = [], []
    for database, restored, before in pairs:
        fresh = tables(restored)
        if not fresh:
            continue  # it was swapped before an interruption
        if triggers(database) or triggers(restored):
            raise OSError(database + " has triggers, and tables with triggers cannot be moved")
        query("CREATE DATABASE IF NOT EXISTS " + identifier(before))
        kept.append(before)
        renames += [(database, name, before) for name in tables(database)]
        renames += [(restored, name, database) for name in fresh]
    if renames:
        quoted = [tuple(map(identifier, one)) for one in renames]
        query(
            "RENAME TABLE " + ", ".join("{0}.{1} TO {2}.{1}".format(*one) for one in quoted),
            before="SET foreign_key_checks = 0, lock_wait_timeout = 60",
        )
    for _, restored, _ in pairs:
        query("DROP DATABASE IF EXISTS " + identifier(restored))
    return {"kept": kept, "tables": len(renames)}


def tables(database: str) -> list[str]:
    """Return the names of a database's tables."""
    return query(
        "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema = " + literal(database)
    )


def triggers(database: str) -> list[str]:
    """Return the names of a database's triggers."""
    return query(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = "
        + literal(database)
    )


def answers(queries: list[str]) -> list[list[str]]:
    """Return the lines that each query gives, at most a hundred."""
    return [query(text)[:100] for text in queries]
