"""Timers and services of this machine's systemd, for what goes on while its operator sleeps.

https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from backstay.errors import BackstayError

FOLDER = Path("/etc/systemd/system")
_BOUND = 60.0


def unit_files(
    name: str,
    *,
    does: str,
    at: datetime,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> dict[str, str]:
    """Return the files of a service and of the timer that starts it once, at ``at``. Pure.

    A machine that is off at that time does not start it later: maintenance has its time.
    """
    variables = "".join(
        f"Environment={_quoted(f'{key}={value}')}\n" for key, value in environment.items()
    )
    service = (
        f"[Unit]\nDescription={does}\nWants=network-online.target\n"
        "After=network-online.target\n\n"
        # Every step has a bound of its own.
        f"[Service]\nType=oneshot\nTimeoutStartSec=infinity\n{variables}"
        f"ExecStart={' '.join(map(_quoted, command))}\n"
    )
    instant = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    timer = (
        f"[Unit]\nDescription={does}\n\n"
        f"[Timer]\nOnCalendar={instant}\nAccuracySec=1s\nPersistent=false\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    return {f"{name}.service": service, f"{name}.timer": timer}


def service_file(*, does: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the file of a service that runs for ever, and is started again when it ends. Pure."""
    variables = "".join(
        f"Environment={_quoted(f'{key}={value}')}\n" for key, value in environment.items()
    )
    return (
        f"[Unit]\nDescription={does}\nWants=network-online.target\n"
        # It is started again however often it has ended: nobody looks after it at night.
        "After=network-online.target\nStartLimitIntervalSec=0\n\n"
        f"[Service]\nRestart=always\nRestartSec=5\n{variables}"
        f"ExecStart={' '.join(map(_quoted, command))}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def install(
    name: str,
    files: Mapping[str, str],
    folder: Path = FOLDER,
    *,
    start: str | None = None,
    instead: str = "leave out --schedule and leave the terminal open",
) -> None:
    """Write the files and start the unit ``start``, the timer ``name`` if None.

    ``instead`` is what the operator can do without systemd. Raises BackstayError.
    """
    unit = start or f"{name}.timer"
    attempted = f"installing {unit}"
    if os.geteuid() != 0:
        raise BackstayError(
            attempted,
            came_back=f"only root may write to {folder}",
            remedy=f"do it as root, or {instead}",
        )
    try:
        for file, text in files.items():
            path = folder / file
            path.touch(mode=0o600)  # a journal's URL may hold a password
            path.write_text(text)
    except OSError as error:
        raise BackstayError(
            attempted,
            came_back=f"{error.filename}: {error.strerror}",
            remedy=instead,
        ) from error
    for command in (["daemon-reload"], ["enable", unit], ["restart", unit]):
        _systemctl(attempted, command, instead)


def uninstall(units: Sequence[str], folder: Path = FOLDER) -> None:
    """Stop units that were installed here and remove their files. Raises BackstayError."""
    attempted = f"removing {', '.join(units)}"
    remedy = "do it as root, on the machine where it was installed"
    if missing := [unit for unit in units if not (folder / unit).exists()]:
        came_back = f"there is no {', '.join(missing)} in {folder}"
        raise BackstayError(attempted, came_back=came_back, remedy=remedy)
    _systemctl(attempted, ["disable", "--now", *units], remedy)
    try:
        for unit in units:
            (folder / unit).unlink()
    except OSError as error:
        came_back = f"{error.filename}: {error.strerror}"
        raise BackstayError(attempted, came_back=came_back, remedy=remedy) from error
    _systemctl(attempted, ["daemon-reload"], remedy)


def _systemctl(attempted: str, command: Sequence[str], instead: str) -> None:
    remedy = f"is systemd this machine's init? Else {instead}"
    try:
        done = subprocess.run(
            ["systemctl", *command], capture_output=True, text=True, timeout=_BOUND, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackstayError(attempted, came_back=str(error), remedy=remedy) from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-300:]
        raise BackstayError(attempted, came_back=said, remedy=remedy)


def _quoted(word: str) -> str:
    """Return a word as systemd's command lines have it.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
