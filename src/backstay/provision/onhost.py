"""A long command as a unit of its own, which outlives whoever began it.

Shipped as text: standard library, Python 3.6. Whoever comes later with the same name attaches to
it. Its folder has the script, the whole log, and the exit status once there is one.
https://www.freedesktop.org/software/systemd/man/systemd-run.html
"""

import os
import subprocess
import time
from typing import Any

FOLDER = "/var/lib/backstay/runs"
PIECE = 1 << 16
"""How many bytes of a log are handed over at a time."""


def begin(unit: str, script: str, after: str, bound: float, folder: str) -> dict[str, Any]:
    """Run a shell script as the unit, unless it runs already or has ended.

    ``after`` is a shell line that is run when the unit ends, however it ends; ``bound`` is for how
    many seconds it may run. Returns what ``state_of`` does.
    """
    mine = os.path.join(folder, unit)
    if not state_of(unit, folder)["started"]:
        os.makedirs(mine, mode=0o700, exist_ok=True)
        write(os.path.join(mine, "script"), script)
        write(os.path.join(mine, "run"), wrapper(mine))
        write(os.path.join(mine, "await"), "until [ -e '%s/go' ]; do sleep 0.1; done\n" % mine)
        if os.path.isdir("/run/systemd/system"):
            start_unit(unit, mine, after, bound)
        else:
            start_process(mine, after)
    return state_of(unit, folder)


def start_unit(unit: str, mine: str, after: str, bound: float) -> None:
    """Start it as a transient unit; one of this name that runs already is left alone."""
    command = [
        "systemd-run",
        "--quiet",
        "--unit=" + unit,
        "--property=RuntimeMaxSec=%d" % bound,
        "--property=TimeoutStopSec=30",
        "--property=WorkingDirectory=" + mine,
    ]
    if after:
        write(os.path.join(mine, "after"), after + "\n")
        command.append("--property=ExecStopPost=/bin/sh " + os.path.join(mine, "after"))
    done = subprocess.run(
        [*command, "/bin/sh", os.path.join(mine, "run")], stderr=subprocess.PIPE, check=False
    )
    error = done.stderr.decode(errors="replace").strip()
    if done.returncode != 0 and "already" not in error:
        raise OSError("systemd-run: " + error[-300:])


def start_process(mine: str, after: str) -> None:
    """Start it as a process of its own, where there is no systemd."""
    script = "/bin/sh " + os.path.join(mine, "run") + "\n" + after + "\n"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=mine,
    )
    write(os.path.join(mine, "pid"), str(process.pid) + " " + str(since(process.pid)))


def wrapper(mine: str) -> str:
    """Return the script that runs the script: its log, and its exit status at the end."""
    return (
        "exec >>'{0}/log' 2>&1 </dev/null\n"
        "export BACKSTAY_AWAIT='{0}/await'\n"
        "/bin/sh '{0}/script'\n"
        "echo $? >'{0}/status.part'\n"
        "mv '{0}/status.part' '{0}/status'\n"
    ).format(mine)


def state_of(unit: str, folder: str) -> dict[str, Any]:
    """Return whether it was started, whether it runs, and its exit status if it has ended.

    One that was killed, or whose host was booted meanwhile, neither runs nor has a status: it has
    not been started, and may be started again.
    """
    mine = os.path.join(folder, unit)
    runs = active(unit, mine)
    status = read(os.path.join(mine, "status"))  # after the question: it may end in between
    return {
        "started": runs or bool(status),
        "runs": runs and not status,
        "status": int(status) if status else None,
        "log": os.path.join(mine, "log"),
    }


def active(unit: str, mine: str) -> bool:
    """Return whether the unit, or the process in its place, is there."""
    if os.path.isdir("/run/systemd/system"):
        shown = subprocess.run(
            ["systemctl", "show", "--value", "--property=ActiveState", unit + ".service"],
            stdout=subprocess.PIPE,
            check=False,
        )
        state = shown.stdout.decode(errors="replace").strip()
        return state in ("active", "activating", "deactivating", "reloading")
    pid, _, started = read(os.path.join(mine, "pid")).partition(" ")
    return bool(pid) and since(int(pid)) == started != ""


def since(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; nothing where it is gone or a zombie."""
    fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else ""


def more(unit: str, folder: str, offset: int, patience: float) -> dict[str, Any]:
    """Return the state (``state_of``) with the log from ``offset`` on as text, and its end.

    Waits up to ``patience`` seconds for its end, or for much news: each answer costs a round trip.
    """
    until = time.monotonic() + patience
    while True:
        state = state_of(unit, folder)
        data = piece(state["log"], offset)
        if len(data) > PIECE // 2 or not state["runs"] or time.monotonic() > until:
            break
        time.sleep(0.5)
    return dict(state, text=data.decode(errors="replace"), end=offset + len(data))


def piece(log: str, offset: int) -> bytes:
    """Return the log's bytes from ``offset`` on: whole lines, unless one is very long."""
    try:
        with open(log, "rb") as file:
            file.seek(offset)
            data = file.read(PIECE)
    except OSError:
        return b""
    whole = data.rfind(b"\n") + 1
    return data[:whole] if whole else data


def let_go(unit: str, folder: str) -> dict[str, Any]:
    """Release a command that waits, also one that is started later or once more."""
    write(os.path.join(folder, unit, "go"), "")
    return state_of(unit, folder)


def again(unit: str, folder: str) -> dict[str, Any]:
    """Forget how it ended, so that ``begin`` begins it again; its log goes on. Not if it runs."""
    state = state_of(unit, folder)
    if not state["runs"] and state["status"]:
        mine = os.path.join(folder, unit)
        os.replace(os.path.join(mine, "status"), os.path.join(mine, "status.before"))
        subprocess.run(
            ["systemctl", "reset-failed", unit + ".service"],
            stderr=subprocess.DEVNULL,
            check=False,
        )
    return state_of(unit, folder)


def write(path: str, text: str) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def read(path: str) -> str:
    """Return a small file's text, nothing where it is not there."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
