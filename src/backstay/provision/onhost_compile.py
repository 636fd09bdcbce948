"""Compiling the Python modules of packages beside their installation. Shipped as text: see onhost.

Half the processor time of an installation is Python packages being compiled one by one. So
dpkg's scripts only note them, and a unit of its own compiles what is noted, on another core. What
services import comes first; the rest is not waited for: a module that is not compiled yet is read a
little more slowly.
"""

import glob
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time

NOTED = """#!/bin/sh
# Only what is plain is put off: a package's modules, without further choices.
if [ "$1" = -p ] && [ $# -eq 2 ]; then echo "$2" >>"{0}/modules"; exit 0; fi
exec /usr/bin/py3compile "$@"
"""
TESTS = ("/tests/", "/test/", "/testing/")
BOUND = 1800
"""Seconds after which the unit is ended."""


def begin_compiling(program: str) -> str:
    """Begin to compile what is noted from now on, and return the folder that notes it.

    ``py3compile`` in it takes the place of the system's; the folder goes away at the end.
    ``program`` calls ``compile_noted``.
    """
    folder = tempfile.mkdtemp(prefix="backstay-compile-")
    with open(os.path.join(folder, "program"), "w") as file:
        file.write(program)
    with open(os.path.join(folder, "py3compile"), "w") as file:
        file.write(NOTED.format(folder))
    os.chmod(os.path.join(folder, "py3compile"), 0o755)
    command = ["/usr/bin/python3", "-I", os.path.join(folder, "program"), folder, str(os.getpid())]
    if os.path.isdir("/run/systemd/system"):
        unit = [
            "systemd-run",
            "--quiet",
            "--collect",
            "--unit=" + os.path.basename(folder),
            "--property=RuntimeMaxSec=%d" % BOUND,
        ]
        subprocess.run([*unit, *command], check=True)
    else:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return folder


def compile_noted() -> None:
    """Compile what the folder notes (first argument) for as long as the installer (second) runs.

    Then what is left; tests last, when nothing else wants the processor.
    """
    folder, installer = sys.argv[1], sys.argv[2]
    os.nice(5)
    done, later = 0, []
    while True:
        over = not os.path.exists("/proc/" + installer)
        names = noted(folder)
        for name in names[done:]:
            paths = modules_of(name)
            later += [path for path in paths if is_test(path)]
            compile_all([path for path in paths if not is_test(path)])
        if over and done == len(names):
            break
        done = len(names)
        time.sleep(0.2)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    compile_all(later)
    shutil.rmtree(folder, ignore_errors=True)


def noted(folder: str) -> list[str]:
    """Return the names of the packages whose turn it is, none while none is noted."""
    try:
        with open(os.path.join(folder, "modules")) as file:
            return file.read().split()
    except OSError:
        return []


def modules_of(package: str) -> list[str]:
    """Return the Python files of a package that every program may import."""
    found = glob.glob("/var/lib/dpkg/info/" + package + ".list")
    found += glob.glob("/var/lib/dpkg/info/" + package + ":*.list")
    paths: list[str] = []
    for name in found:
        with open(name, errors="replace") as file:
            paths += file.read().splitlines()
    return [p for p in paths if p.endswith(".py") and p.startswith("/usr/lib/python3/")]


def is_test(path: str) -> bool:
    """Return whether a module belongs to a package's own tests."""
    return any(folder in path for folder in TESTS)


def compile_all(paths: list[str]) -> None:
    """Compile modules; some packages ship what is no Python of this release."""
    for path in paths:
        try:
            py_compile.compile(path, doraise=True)
        except (OSError, py_compile.PyCompileError, ValueError):
            continue
