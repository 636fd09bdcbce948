"""openrc, read by running it: it is a shell script, and only a shell knows what it sets."""

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from backstay.errors import InventoryError

BOUND = 10.0
_LONGEST_OUTPUT = 1_000_000

# `.` with a path that has a slash does not search PATH. What the script prints goes to stderr, so
# that only the variables are on stdout; NUL between them, as values may hold newlines.
_SOURCE = '. "$0" >&2 && exec env -0'


def read_openrc(path: Path, *, bound: float = BOUND) -> dict[str, str]:
    """Return the ``OS_*`` variables that ``path`` exports, run by a POSIX ``sh`` with ``.``.

    The environment is clean (PATH and HOME only), standard input is empty, and after ``bound``
    seconds the shell and all that it started are killed. The password may come from the
    operator's own ``OS_PASSWORD`` where the script asks for it. Raises InventoryError.
    """
    if not path.is_file():
        raise _wrong(path, "there is no such file", "correct `openrc` in cloud.yaml")
    status, output, complaints = _run(path.absolute(), bound)
    if status != 0:
        message = next((line for line in reversed(complaints.splitlines()) if line.strip()), "")
        raise _wrong(
            path,
            f"sh ended with status {status}" + (f": {message.strip()}" if message else ""),
            f"try by hand: sh -c '. {path}' (a POSIX sh, not bash; `source` and [[ ]] are bash's)",
        )
    pairs = (item.partition("=") for item in output.split("\0"))
    found = {name: value for name, _, value in pairs if name.startswith("OS_")}
    return _with_password(path, found)


def _with_password(path: Path, found: dict[str, str]) -> dict[str, str]:
    if not found:
        raise _wrong(path, "it exports no OS_ variable", "export them: export OS_AUTH_URL=…")
    others = ("OS_TOKEN", "OS_APPLICATION_CREDENTIAL_SECRET")
    if found.get("OS_PASSWORD") or any(found.get(name) for name in others):
        return found
    if os.environ.get("OS_PASSWORD"):
        return found | {"OS_PASSWORD": os.environ["OS_PASSWORD"]}
    raise _wrong(
        path,
        "it sets no OS_PASSWORD: it probably asks for the password, and there is no terminal",
        "set OS_PASSWORD in the environment, or use clouds.yaml",
    )


def _run(path: Path, bound: float) -> tuple[int, str, str]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
    }
    # Files, not pipes: what the script leaves behind in the background may hold a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        shell = subprocess.Popen(
            ["sh", "-c", _SOURCE, str(path)],
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
                "see what it waits for: sh -x " + str(path),
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        return status, _text(out), _text(complaints)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_LONGEST_OUTPUT).decode("utf-8", "replace")


def _wrong(path: Path, came_back: str, remedy: str) -> InventoryError:
    return InventoryError(f"reading {path}", came_back=came_back, remedy=remedy)
