"""Local programs, run with a bound; errors are LabError with the last lines of output."""

import contextlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from backstay_lab import cgroups
from backstay_lab.errors import LabError

LAST_LINES = 12
# in a long log these lines hold the reason: Puppet's, APT's and dpkg's
ERROR = re.compile(r"\s*(Error|E|dpkg: error)\b.*:")

_running: set[subprocess.Popen[str]] = set()


def run(
    argv: Sequence[str],
    *,
    attempted: str,
    bound: float = 60,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cgroup: str | None = None,
    log: Path | None = None,
    check: bool = True,
    accept: Sequence[int] = (0,),
) -> subprocess.CompletedProcess[str]:
    """Run a program in its own session; return its exit status and output.

    ``attempted`` is the phrase for the error; ``bound`` is in seconds; ``cgroup`` is the name of
    a group (made where missing) that the program and all its children live in, so that they are
    found after a crash; with ``log`` both streams go to that file, made with its folder where
    missing, and stdout in the result is its new text. Raises LabError when the program is
    missing, exceeds its bound (it is killed with
    its group of processes), or ends with a status not in ``accept`` (unless ``check`` is off).
    """
    groups = cgroups.renew(cgroup) if cgroup else []
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            start = sink.tell()
            done = _run(
                argv,
                attempted=attempted,
                bound=bound,
                stdin=stdin,
                env=env,
                groups=groups,
                sink=sink,
            )
        with log.open("rb") as text:
            text.seek(start)
            done.stdout = text.read().decode(errors="replace")
    else:
        done = _run(argv, attempted=attempted, bound=bound, stdin=stdin, env=env, groups=groups)
    if check and done.returncode not in accept:
        raise _failed(argv, attempted, done, log)
    return done


def _run(
    argv: Sequence[str],
    *,
    attempted: str,
    bound: float,
    stdin: str | None,
    env: Mapping[str, str] | None,
    groups: Sequence[Path],
    sink: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=sink or subprocess.PIPE,
            stderr=subprocess.STDOUT if sink else subprocess.PIPE,
            env=None if env is None else {**os.environ, **env},
            text=True,
            errors="replace",
            start_new_session=True,
            # runs after fork in a program with threads: only system calls in there
            preexec_fn=cgroups.joiner(groups) if groups else None,  # noqa: PLW1509
        )
    except OSError as error:
        raise LabError(
            attempted,
            came_back=f"{argv[0]} cannot be started: {error.strerror}",
            remedy="backstay lab requirements",
        ) from error
    _running.add(process)
    try:
        out, err = process.communicate(stdin, timeout=bound)
    except subprocess.TimeoutExpired as error:
        _kill_session(process)
        raise LabError(
            attempted,
            came_back=f"{argv[0]} did not end within {bound:.0f} s",
            remedy="check the machine's load and network, then repeat the command",
        ) from error
    except BaseException:
        _kill_session(process)
        raise
    finally:
        _running.discard(process)
    return subprocess.CompletedProcess(list(argv), process.returncode, out or "", err or "")


def kill_all() -> None:
    """Kill every program that runs now, with its group of processes.

    The threads that wait for them then end with an error of their own. Safe in a signal handler.
    """
    for process in tuple(_running):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def _kill_session(process: subprocess.Popen[str]) -> None:
    """Kill the program's process group; it leads one, and has not been waited for."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)


def _failed(
    argv: Sequence[str],
    attempted: str,
    done: subprocess.CompletedProcess[str],
    log: Path | None,
) -> LabError:
    lines = (done.stdout if log else done.stderr or done.stdout).strip().splitlines()
    errors = [line for line in lines if ERROR.match(line)] if log else []
    last = "\n    ".join((errors or lines)[-LAST_LINES:]) or "it printed nothing"
    return LabError(
        attempted,
        came_back=f"{argv[0]} ended with status {done.returncode}:\n    {last}",
        remedy=f"read {log}" if log else "fix what the message names, then repeat the command",
    )
