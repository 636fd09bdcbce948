"""What a host is asked: its Python, whether the login becomes root, and then the rest as root.

Sent as text. ``outside`` must be readable by any Python 3; the rest by 3.6.
"""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from backstay.access.onhost import ask_all, loaded, plain_messages
from backstay.services.oslo import setting

QUESTION_BOUND = 8.0
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OLDEST = (3, 6)


def outside(source: str, bound: float) -> dict[str, Any]:
    """Return what any login can say, and what ``source`` prints when root runs it.

    ``root`` is that, decoded; where there is none ``refused`` has the last lines of sudo, or of
    Python. It only reads.
    """
    facts: dict[str, Any] = {
        "started": time.time(),
        "python": list(sys.version_info[:3]),
        "user": user_name(),
        "is_root": os.geteuid() == 0,
    }
    if sys.version_info >= OLDEST:
        facts.update(as_root(source, bound))
    facts["finished"] = time.time()
    return facts


def as_root(source: str, bound: float) -> dict[str, Any]:
    """Return ``root`` or ``refused``, as ``outside`` has them."""
    plain_messages()
    words = [sys.executable, "-I", "-"]
    if os.geteuid() != 0:
        words = ["sudo", "-n", "python3", "-I", "-"]
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        return {"refused": ["not root, and sudo cannot be used: " + str(error.strerror or error)]}
    try:
        out, err = process.communicate(source.encode(), timeout=bound)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):  # sudo is root's
            process.kill()
        return {"refused": ["no answer within " + str(bound) + " s"]}
    try:
        return {"root": json.loads(out.decode())}
    except ValueError:
        said = err.decode("utf-8", "replace").strip().splitlines()
        return {"refused": [line[:300] for line in said[-5:]] or ["it ended without a word"]}


def user_name() -> str:
    """Return the login's name, its number where no file has one."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def inside_as_root(spec: dict[str, Any]) -> dict[str, Any]:
    """Answer what ``spec`` names, each question on a thread of its own.

    It has ``programs`` and ``files`` (names), ``rpc`` (binary, project and file of each kind of
    agent) and ``sources`` (name, bound, source text and function's name).
    """
    questions: dict[str, Any] = {
        "programs": (
            QUESTION_BOUND,
            lambda: [name for name in spec["programs"] if not shutil.which(name, path=PLACES)],
        ),
        "files": (
            QUESTION_BOUND,
            lambda: [name for name in spec["files"] if not os.path.exists(name)],  # noqa: PTH110
        ),
        "systemd": (QUESTION_BOUND, lambda: os.path.isdir("/run/systemd/system")),  # noqa: PTH112
        "temporary": (QUESTION_BOUND, free),
        "rpc": (QUESTION_BOUND, lambda: rpc_ping(spec["rpc"])),
    }
    for name, bound, source, function in spec["sources"]:
        questions[name] = (bound, loaded(name, source, function))
    return {"is_root": os.geteuid() == 0, "answers": ask_all(questions)}


def free() -> list[Any]:
    """Return the folder for temporary files and how many bytes are free there."""
    folder = tempfile.gettempdir()
    sizes = os.statvfs(folder)
    return [folder, sizes.f_bavail * sizes.f_frsize]


def rpc_ping(endpoints: list[list[str]]) -> list[list[Any]]:
    """Return each agent that runs here, its setting ``rpc_ping_enabled``, and the file for it."""
    found = []
    for binary, project, config in endpoints:
        read = setting(project, binary, [config], "DEFAULT", "rpc_ping_enabled")
        if read["running"]:
            found.append([binary, str(read["value"] or ""), read["last"] or config])
    return found


def examine(spec: dict[str, Any]) -> None:
    """Print the answers, and end although a thread hangs."""
    sys.stdout.write(json.dumps(inside_as_root(spec)))
    sys.stdout.flush()
    os._exit(0)
