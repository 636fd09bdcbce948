"""Timers and services of this machine's systemd, for what runs unattended.

https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html
"""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from backstay.errors import BackstayError

FOLDER = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Is there where systemd is the init: sd_booted(3)."""
SPREAD = 300.0
"""Seconds over which timers that repeat are spread."""
_BOUND = 60.0


def unit_files(
    name: str,
    *,
    does: str,
    at: datetime,
    command: Sequence[str],
    environment: Mapping[str, str],
    secrets: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the files of a service and of the timer that starts it once, at ``at``. Pure.

    A machine that is off at that time does not start it later: maintenance has its time. See
    ``environment_file`` for ``secrets``.
    """
    instant = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    begins = f"OnCalendar={instant}\nAccuracySec=1s\nPersistent=false\n"
    return {
        f"{name}.service": _service(does, command, environment, reading(name, secrets)),
        **environment_file(name, secrets),
        f"{name}.timer": _timer(does, begins),
    }


def repeating_files(
    name: str,
    *,
    does: str,
    calendar: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    secrets: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the files of a service and of the timer that starts it again and again. Pure.

    ``calendar`` is one of systemd's expressions (see ``next_time``). A machine that was off at the
    time starts it when it is up again; several machines do not start it at the same second. See
    ``environment_file`` for ``secrets``.
    """
    begins = f"OnCalendar={calendar}\nRandomizedDelaySec={SPREAD:g}s\nPersistent=true\n"
    return {
        f"{name}.service": _service(does, command, environment, reading(name, secrets)),
        **environment_file(name, secrets),
        f"{name}.timer": _timer(does, begins),
    }


def _service(
    does: str, command: Sequence[str], environment: Mapping[str, str], more: str = ""
) -> str:
    variables = "".join(
        f"Environment={_quoted(f'{key}={value}')}\n" for key, value in environment.items()
    )
    return (
        f"[Unit]\nDescription={does}\nWants=network-online.target\n"
        "After=network-online.target\n\n"
        # Every step has a bound of its own.
        f"[Service]\nType=oneshot\nTimeoutStartSec=infinity\n{more}{variables}"
        f"ExecStart={' '.join(map(_quoted, command))}\n"
    )


def environment_file(name: str, secrets: Mapping[str, str] | None) -> dict[str, str]:
    """Return the file that gives a unit variables which hold secrets, none where there are none.

    Lines ``Environment=`` of a unit are shown to every user by ``systemctl show``; this file is
    root's alone, as ``install`` writes it. The unit names it by ``reading``.
    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=
    """
    if not secrets:
        return {}
    lines = [f'{key}="{_ESCAPED.sub(_escape, value)}"\n' for key, value in secrets.items()]
    return {f"{name}.env": "".join(lines)}


def reading(name: str, secrets: Mapping[str, str] | None, folder: Path = FOLDER) -> str:
    """Return the line by which a unit reads the file of its secrets, empty without any."""
    return f"EnvironmentFile={str(folder / name).replace('%', '%%')}.env\n" if secrets else ""


_ESCAPED = re.compile(r'["\\$`]')


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _timer(does: str, begins: str) -> str:
    return f"[Unit]\nDescription={does}\n\n[Timer]\n{begins}\n[Install]\nWantedBy=timers.target\n"


def next_time(calendar: str) -> str:
    """Return when a calendar expression elapses next, as systemd prints it. Raises BackstayError.

    Empty where this machine has no systemd to ask.
    https://www.freedesktop.org/software/systemd/man/latest/systemd.time.html#Calendar%20Events
    """
    attempted = f"reading the calendar expression `{calendar}`"
    remedy = (
        "write it as systemd does: daily, `*-*-* 00:30`, `Mon..Fri 04:00`; see man systemd.time"
    )
    try:
        done = _run(["systemd-analyze", "calendar", "--", calendar])
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    if done.returncode != 0:
        raise BackstayError(attempted, came_back=_said(done), remedy=remedy)
    properties = dict(line.strip().partition(": ")[::2] for line in done.stdout.splitlines())
    coming = properties.get("Next elapse", "")
    if coming == "never":
        raise BackstayError(attempted, came_back="that time never comes", remedy=remedy)
    return coming


def service_file(
    *, does: str, command: Sequence[str], environment: Mapping[str, str], more: str = ""
) -> str:
    """Return the file of a service that is restarted whenever it ends. Pure.

    ``more`` are further lines about the service.
    """
    variables = "".join(
        f"Environment={_quoted(f'{key}={value}')}\n" for key, value in environment.items()
    )
    return (
        f"[Unit]\nDescription={does}\nWants=network-online.target\n"
        # It is restarted however often it has ended: at night no operator would do it.
        "After=network-online.target\nStartLimitIntervalSec=0\n\n"
        f"[Service]\nRestart=always\nRestartSec=5\n{more}{variables}"
        f"ExecStart={' '.join(map(_quoted, command))}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def install(unit: str, files: Mapping[str, str], folder: Path = FOLDER, *, instead: str) -> None:
    """Write the files and start ``unit``. Raises BackstayError; ``instead`` is its way out."""
    attempted = f"installing {unit}"
    _require(attempted, folder, instead)
    try:
        for file, text in files.items():
            _write(folder / file, text)
    except OSError as error:
        raise BackstayError(
            attempted, came_back=f"{error.filename}: {error.strerror}", remedy=instead
        ) from error
    for command in (["daemon-reload"], ["enable", unit], ["restart", unit]):
        _systemctl(attempted, command, instead)


def _write(path: Path, text: str) -> None:
    """Write a file of root's alone: none of it is ever seen by others, whatever was there."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "w") as writing:
        writing.write(text)
    beside.replace(path)


def remove(unit: str, *files: str, folder: Path = FOLDER) -> bool:
    """Stop a unit and remove its file and ``files``. Return whether any was there.

    What a timer has started continues. Raises BackstayError.
    """
    attempted = f"removing {unit}"
    paths = [folder / name for name in (unit, *files)]
    if not any(path.exists() for path in paths):
        return False
    instead = f"remove {', '.join(map(str, paths))} yourself"
    _require(attempted, folder, instead)
    _systemctl(attempted, ["disable", "--now", unit], instead)
    for file in paths:
        file.unlink(missing_ok=True)
    _systemctl(attempted, ["daemon-reload"], instead)
    return True


def state(name: str, folder: Path = FOLDER) -> dict[str, str]:
    """Return what systemd knows of a timer and of its service's last run; empty if not installed.

    ``OnCalendar`` and ``ExecStart`` are the files' own; the rest are systemd's properties, where it
    answers. Raises BackstayError where the files cannot be read, or do not say what is run when.
    https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html
    """
    found: dict[str, str] = {}
    for kind, line, properties in (
        ("timer", "OnCalendar", "NextElapseUSecRealtime,LastTriggerUSec"),
        ("service", "ExecStart", "Result,ActiveState"),
    ):
        file = folder / f"{name}.{kind}"
        if not file.exists():
            return {}
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError as error:
            raise BackstayError(
                f"reading {file}", came_back=error.strerror or str(error), remedy="do it as root"
            ) from error
        found |= _pairs([one for one in lines if one.startswith(f"{line}=")])
        if not found.get(line):
            raise BackstayError(
                f"reading {file}",
                came_back=f"it has no line {line}=: it is damaged",
                remedy="install it again: it is written anew",
            )
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            asked = _run(["systemctl", "show", file.name, f"--property={properties}"])
            found |= _pairs(asked.stdout.splitlines())
    return found


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in lines)


def _require(attempted: str, folder: Path, instead: str) -> None:
    """Raise BackstayError where nothing of it can work, before a file is touched."""
    if os.geteuid() != 0:
        came_back, remedy = f"only root may write to {folder}", f"do it as root, or {instead}"
    elif not BOOTED.is_dir():
        came_back, remedy = "systemd is not this machine's init", instead
    else:
        return
    raise BackstayError(attempted, came_back=came_back, remedy=remedy)


def _systemctl(attempted: str, command: Sequence[str], instead: str) -> None:
    remedy = f"systemctl status; or {instead}"
    try:
        done = _run(["systemctl", *command])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackstayError(attempted, came_back=str(error), remedy=remedy) from error
    if done.returncode != 0:
        raise BackstayError(attempted, came_back=_said(done), remedy=remedy)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_BOUND, check=False, env=environment
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stderr or done.stdout).split())[-300:]


def _quoted(word: str) -> str:
    """Return a word as systemd's command lines have it.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"


def notify(*lines: str) -> None:
    """Tell ``READY=1`` and the like; nothing where no systemd has started this process."""
    address = os.environ.get(SOCKET, "")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto("\n".join(lines).encode(), address)


def sign_of_life_every() -> float | None:
    """Return every how many seconds systemd wants ``WATCHDOG=1``, half of what it waits."""
    properties = os.environ.get(WATCHDOG, "")
    return int(properties) / 2e6 if properties.isdigit() and int(properties) else None
