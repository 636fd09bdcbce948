"""The note on a host that says which run works on it, compared by whatever a run sends there.

Locks and journal are the operators': two operators with two journals share none of them. They share
the host. So each function that a run sends to one of its hosts first takes or renews this note, or
refuses: where the note is that of another journal's run that lives, or of a newer run of the same
journal. While the function works the note is read once a second, and the program ends itself where
the host was taken from it.

The note is in /var/lib, as it has to outlast a reboot that its own run has asked for. Where that
cannot be written (a disk that is full or read only, which a reboot may be to cure) it is in /run.
Between two journals there is no order of epochs: a note is valid for ``life`` seconds after it was
renewed, by the host's clock since its boot, which nobody sets; one of an earlier boot is valid for
that long after the boot began. Among the runs of one journal the epoch decides.

This module is not imported on a host: its text is sent there (``shipping``). Python 3.6.
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

NOTE = "host-lease.json"
LOCK = "host-lease.lock"
HELD = "backstay-host-lease: "
"""Begins the line on standard error that says who has the host."""
STATUS = 75
"""The exit status then (EX_TEMPFAIL)."""
BOOTTIME = 7
"""CLOCK_BOOTTIME: Python 3.6 has no name for it."""
MOST = 65536
JOURNALS = 16
FULL = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO)
"""Errors of a place in which nothing can be written now."""


def under_lease(given: dict[str, Any], call: Callable[[], Any]) -> Any:  # noqa: ANN401 - JSON data
    """Return what ``call`` returns, under the host's note; end the program where it is another's.

    ``given`` is as ``hold_lease`` has it.
    """
    holder = hold_lease(given)
    if holder:
        end_held(holder)
    watcher = threading.Thread(target=watch_lease, args=(given,), daemon=True)
    watcher.start()
    return call()


def end_held(holder: dict[str, Any]) -> None:
    """End the program at once, saying who has the host."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(HELD + json.dumps(holder) + "\n")
        sys.stderr.flush()
    os._exit(STATUS)


def watch_lease(given: dict[str, Any]) -> None:
    """Read the note once a second; end the program where the host was taken from its run.

    It is renewed meanwhile, as long as whoever started this program is there.
    """
    parent, renewed = os.getppid(), time.monotonic()
    while True:
        time.sleep(1.0)
        if time.monotonic() - renewed > given["life"] / 6 and os.getppid() == parent and is_heard():
            renewed = time.monotonic()
            with contextlib.suppress(OSError):
                hold_lease(given)
        try:
            note = newest_note(given["places"])
        except OSError:
            continue
        holder = other_holder(note, given)
        if holder:
            end_held(holder)


def is_heard() -> bool:
    """Return whether anybody still reads what this program prints.

    Its parent does not tell: sudo waits for it also when the connection is lost.
    """
    seen = select.poll()
    seen.register(1, 0)  # the end of the other side is reported without being asked for
    return not seen.poll(0)


def hold_lease(given: dict[str, Any]) -> dict[str, Any]:
    """Take or renew the host for a run; return who has it instead, nothing where it is ours.

    ``given``: ``journal``, ``epoch``, ``run``, ``who``, ``life`` in seconds, and ``places``, the
    folders for the note in order of preference; the last one is for the lock.
    """
    with locked(given["places"]):
        note = newest_note(given["places"])
        holder = other_holder(note, given)
        if holder:
            return holder
        up = time.clock_gettime(BOOTTIME)
        boot = this_boot()
        known = (note.get("journal"), note.get("run"), note.get("epoch"), note.get("boot"))
        ours = known == (given["journal"], given["run"], given["epoch"], boot)
        if ours and not note.get("released") and note["until"] - up > 0.75 * given["life"]:
            return {}
        # Taken out and put in again: of so many journals those that came last stay.
        least = dict(note.get("least") or {})
        least[given["journal"]] = max(least.pop(given["journal"], 0), given["epoch"])
        write_note(
            given["places"],
            {
                "journal": given["journal"],
                "run": given["run"],
                "epoch": given["epoch"],
                "who": given["who"],
                "since": note["since"] if ours else time.time(),
                "boot": boot,
                "until": up + given["life"],
                "life": given["life"],
                "released": False,
                "by": "",
                "least": dict(list(least.items())[-JOURNALS:]),
                "number": note.get("number", 0) + 1,
            },
        )
    return {}


def let_lease_go(given: dict[str, Any]) -> dict[str, Any]:
    """Give the host up for a run that has ended, or was abandoned; return who has it instead.

    ``given`` is as for ``hold_lease``: no run of this journal with a lower epoch may return. With
    ``stop`` the run's long commands, which run as units of their own, are ended too.
    """
    with locked(given["places"]):
        note = newest_note(given["places"])
        holder = other_holder(note, given)
        if note and not holder:
            mine = (note["journal"], note["run"]) == (given["journal"], given["run"])
            least = dict(note["least"])
            least[given["journal"]] = max(least.pop(given["journal"], 0), given["epoch"])
            changed = dict(note, least=least, number=note["number"] + 1)
            if mine:
                changed.update(released=True, by=given["who"])
            write_note(given["places"], changed)
            if mine and given.get("stop"):
                command = ["systemctl", "stop", "backstay-" + given["run"] + "-*.service"]
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run(command, stderr=subprocess.DEVNULL, timeout=15, check=False)
    return holder


def release_lease(given: dict[str, Any]) -> dict[str, Any]:
    """Take the host from whoever has it, who may not return with the same epoch; return the note.

    ``given``: ``who`` does it, and ``places``.
    """
    with locked(given["places"]):
        note = newest_note(given["places"])
        if not note or not is_valid(note):
            return {}
        least = dict(note["least"])
        least[note["journal"]] = max(least.get(note["journal"], 0), note["epoch"] + 1)
        number = note["number"] + 1
        changed = dict(note, released=True, least=least, number=number, by=given["who"])
        write_note(given["places"], changed)
    return note


def held_by(places: list[str]) -> dict[str, Any]:
    """Return the note of the run that has this host, nothing where none has."""
    note = newest_note(places)
    return note if note and is_valid(note) else {}


def other_holder(note: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return what keeps a run from the host: a note, or nothing. Pure but for clock and boot."""
    if not note:
        return {}
    if given["epoch"] < (note.get("least") or {}).get(given["journal"], 0):
        return dict(note, taken_back=True)
    if note["journal"] != given["journal"] and is_valid(note):
        return note
    return {}


def is_valid(note: dict[str, Any]) -> bool:
    """Return whether the run of a note may live."""
    up = time.clock_gettime(BOOTTIME)
    if note["released"]:
        return False
    if note["boot"] != this_boot():
        return bool(up < note["life"])
    return bool(up < note["until"])


def this_boot() -> str:
    """Return the id of this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@contextlib.contextmanager
def locked(places: list[str]) -> Iterator[None]:
    """Let nobody else change the note during the block. Raises OSError after five seconds."""
    folder = opened_folder(places[-1])
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(LOCK, flags, 0o600, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        until = time.monotonic() + 5.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def opened_folder(path: str) -> int:
    """Return a descriptor of a folder that is this user's alone; it is made where it is missing."""
    if not os.path.isdir(path):
        os.makedirs(path, mode=0o700, exist_ok=True)
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(number)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(number)
        raise OSError(errno.EPERM, "is another user's, or others may write there", path)
    return number


def newest_note(places: list[str]) -> dict[str, Any]:
    """Return the newest well-formed note, nothing where there is none."""
    found = [read_note(path) for path in places if os.path.isdir(path)]
    return max(found, key=lambda note: note.get("number", 0)) if found else {}


def read_note(path: str) -> dict[str, Any]:
    """Return the note in a folder, nothing where there is none, or one that is not well formed."""
    folder = opened_folder(path)
    try:
        number = os.open(NOTE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return {}
    finally:
        os.close(folder)
    with os.fdopen(number, "rb") as file:
        text = file.read(MOST)
    try:
        note = json.loads(text.decode())
        numbers = [note[name] for name in ("epoch", "since", "until", "life", "number")]
        texts = [note[name] for name in ("journal", "run", "who", "boot", "by")]
        least = note["least"].values()
        fits = all(isinstance(one, (int, float)) for one in [*numbers, *least])
        fits = fits and all(isinstance(one, str) for one in texts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return note if fits else {}


def write_note(places: list[str], note: dict[str, Any]) -> None:
    """Write the note where that is possible, for this user alone, and remove it elsewhere."""
    written = False
    for path in places:
        try:
            folder = opened_folder(path)
        except OSError as error:
            if error.errno not in FULL:
                raise
            continue
        try:
            if written:
                with contextlib.suppress(OSError):
                    os.unlink(NOTE, dir_fd=folder)
            else:
                put_note(folder, note)
                written = True
        except OSError as error:
            if error.errno not in FULL:
                raise
        finally:
            os.close(folder)


def put_note(folder: int, note: dict[str, Any]) -> None:
    """Put the note in its place in one go, on disk before this returns."""
    new = NOTE + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(json.dumps(note).encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, NOTE, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def changes_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that is sent to hosts: it changes something on any host that it is sent to.

    A run sends it under the host's note also to hosts that are not among its targets.
    """
    function.changes_host = True  # type: ignore[attr-defined]
    return function
