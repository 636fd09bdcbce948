"""An openrc: a script that is run by the shell it is written for, and judged by what it exports."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backstay.commands import command
from backstay.errors import InventoryError
from backstay.ownership import NotTrusted, open_own

BOUND = 10.0
_LONGEST_OUTPUT = 1_000_000
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh"})
PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
"""Variables that decide the way of a connection, in small letters; both ways of writing count."""

# `.` with a path that has a slash does not search PATH. What the script prints goes to stderr, so
# that only the variables are on stdout; NUL between them, as values may hold newlines. The status
# of the last command says nothing: `[ -f x ] && . x` is a usual last line.
_SOURCE = '. "$0" >&2; exec env -0'


@dataclass(frozen=True, slots=True)
class _Script:
    """An openrc, read: ``shell`` is what runs it, ``where`` the name that it is run by."""

    path: Path
    shell: str
    where: str


class PasswordMissing(InventoryError):
    """An openrc sets no password: it asks for it, or leaves it to the terminal."""


def read_openrc(path: Path, *, bound: float = BOUND, with_terminal: bool = True) -> dict[str, str]:
    """Return the ``OS_*`` variables and the proxies that ``path`` exports, run with ``.``.

    It is run by the shell that its first line names; without such a line by bash, where there is
    one, as in most people's terminals. The environment is clean (PATH, HOME and the user's name
    only), standard input is empty, and after ``bound`` seconds the shell and all that it started
    are killed. The password may come from the operator's own ``OS_PASSWORD`` where the script asks
    for it, but not without ``with_terminal``: a unit of systemd has none. Raises InventoryError.
    """
    try:
        opened = open_own(path)
    except NotTrusted as error:
        raise _wrong(path, str(error), error.remedy) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        why = "there is no such file" if isinstance(error, FileNotFoundError) else why
        raise _wrong(path, why, "correct `openrc` in cloud.yaml") from error
    with opened.file as file:
        script = _script(path.absolute(), file.fileno())
        status, output, complaints = _run(script, file.fileno(), bound)
    pairs = (item.partition("=") for item in output.split("\0"))
    found = {
        name: value for name, _, value in pairs if name.startswith("OS_") or name.lower() in PROXIES
    }
    message = _complaint(complaints, script)
    if status != 0:
        raise _wrong(
            path,
            f"{_name(script)} ended with status {status}" + (f": {message}" if message else ""),
            f"try by hand: {command(script.shell, '-c', f'. {shlex.quote(str(path))}')}",
        )
    return _with_password(script, found, message, with_terminal=with_terminal)


def _script(path: Path, file: int) -> _Script:
    """Find out what runs a script that is open as ``file``. Raises InventoryError."""
    text = os.pread(file, _LONGEST_OUTPUT, 0)
    first, _, rest = text.partition(b"\n")
    if first.endswith(b"\r") or rest.partition(b"\n")[0].endswith(b"\r"):
        raise _wrong(
            path,
            "its lines end as those of Windows (CR LF): a shell takes the CR for a part of "
            "each value",
            command("sed", "-i", r"s/\r$//", str(path)),
        )
    # Who asks where the script is must get its own name; every folder on the way was checked.
    asks = b"BASH_SOURCE" in text or b"$0" in text or b"${0" in text
    where = str(path) if asks else f"/dev/fd/{file}"
    return _Script(path, _shell(path, first.decode("utf-8", "replace")), where)


def _shell(path: Path, first: str) -> str:
    """Return the shell that a script's first line names. Raises InventoryError."""
    if not first.startswith("#!"):
        return shutil.which("bash") or "sh"
    words = first[2:].split()
    if words and words[0].rpartition("/")[2] == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    name = words[0] if words else ""
    if name.rpartition("/")[2] not in _SHELLS:
        raise _wrong(
            path,
            f"its first line names `{name}`, which is no shell that Backstay runs it by",
            "let the first line name a shell (#!/bin/bash), or use clouds.yaml",
        )
    found = shutil.which(name) or shutil.which(name.rpartition("/")[2])
    if found is None:
        raise _wrong(
            path,
            f"its first line names {name}, which is not on this machine",
            f"install {name.rpartition('/')[2]}, or let the first line name another shell",
        )
    return found


def _name(script: _Script) -> str:
    return script.shell.rpartition("/")[2]


def _complaint(complaints: str, script: _Script) -> str:
    """Return the last line that a failed script has left, without any of the script's own words.

    What a shell cannot carry out is often a password that stands there without quotes: of its
    complaints only the number of the line and the kind are shown, of what it traces nothing.
    """
    lines = [line.strip() for line in complaints.splitlines()]
    last = next((line for line in reversed(lines) if line and not line.startswith("+")), "")
    if not last.startswith((f"{script.path}:", f"{script.path}[", f"{script.shell}:", *_NAMES)):
        return last[:500]  # of the script's author, who has it printed
    number = re.search(r"(?::|\[) ?(?:line )?(\d+)\]?:", last)
    kind = next((known for known in _COMPLAINTS if known.lower() in last.lower()), "an error")
    return f"line {number[1]}: {kind}" if number else kind


_NAMES = tuple(f"{name}:" for name in sorted(_SHELLS))
_COMPLAINTS = (
    "Syntax error",
    "unexpected EOF",
    "bad variable name",
    "not a valid identifier",
    "parameter not set",
    "unbound variable",
    "bad substitution",
    "not found",
    "No such file or directory",
    "Permission denied",
)


def _with_password(
    script: _Script, found: dict[str, str], message: str, *, with_terminal: bool
) -> dict[str, str]:
    complaint = f"; {_name(script)} said: {message}" if message else ""
    if not any(name.startswith("OS_") for name in found):
        raise _wrong(
            script.path,
            f"it exports no OS_ variable{complaint}",
            "export them: export OS_AUTH_URL=…",
        )
    if not (found.get("OS_AUTH_URL") or found.get("OS_CLOUD")):
        raise _wrong(
            script.path,
            f"it exports no OS_AUTH_URL{complaint}",
            f"see what it does: {command(script.shell, '-x', str(script.path))}",
        )
    asked = found.get("OS_AUTH_TYPE", "password").endswith("password")
    if found.get("OS_PASSWORD") or found.get("OS_CLOUD") or not asked:
        return found
    if any(found.get(name) for name in ("OS_TOKEN", "OS_APPLICATION_CREDENTIAL_SECRET")):
        return found
    if with_terminal and os.environ.get("OS_PASSWORD"):
        return found | {"OS_PASSWORD": os.environ["OS_PASSWORD"]}
    raise PasswordMissing(
        f"reading {script.path}",
        came_back="it sets no OS_PASSWORD: it probably asks for the password, and there is no "
        f"terminal{complaint}",
        remedy="in this terminal: read -rs OS_PASSWORD; export OS_PASSWORD; or let the file export "
        "it (chmod 600), or use clouds.yaml",
    )


def _run(script: _Script, file: int, bound: float) -> tuple[int, str, str]:
    """Run the script that is open as ``file``: what was checked, whatever its name leads to now."""
    path = script.path
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
    } | {name: os.environ[name] for name in ("USER", "LOGNAME") if name in os.environ}
    # Files, not pipes: what the script leaves behind in the background may hold a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        shell = subprocess.Popen(
            [script.shell, "-c", _SOURCE, script.where],
            pass_fds=[file],
            env=environment,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=complaints,
            start_new_session=True,
        )
        try:
            status = shell.wait(bound)
        except subprocess.TimeoutExpired:
            raise _wrong(
                path,
                f"it did not end within {bound:g} s",
                f"see what it waits for: {command(script.shell, '-x', str(path))}",
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        return status, _text(out), _text(complaints).replace(script.where, str(path))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_LONGEST_OUTPUT).decode("utf-8", "replace")


def _wrong(path: Path, came_back: str, remedy: str) -> InventoryError:
    return InventoryError(f"reading {path}", came_back=came_back, remedy=remedy)
