"""What runs a function on a host: as root, each question on a thread with its own bound.

This module is not imported on a host: its text is sent there (``shipping``), without its
annotations. It must run on Python 3.6 with the standard library alone.
"""

import json
import os
import pwd
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

ROOTS_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def ask_all(questions: dict[str, tuple[float, Callable[[], Any]]]) -> dict[str, Any]:
    """Ask every question on a thread of its own; return ``{name: {value|error|late, seconds}}``.

    A question that hangs is left behind: its thread ends with the process.
    """
    answers: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        started = time.monotonic()
        try:
            answer = {"value": question()}
        except Exception as error:  # whatever it is, the others go on
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answer["seconds"] = time.monotonic() - started
        answers[name] = answer

    started = time.monotonic()
    threads = []
    for name, (bound, question) in questions.items():
        thread = threading.Thread(target=ask, args=(name, question), daemon=True)
        thread.start()
        threads.append((name, bound, thread))
    for name, bound, thread in threads:
        thread.join(max(0.0, started + bound - time.monotonic()))

        answers.setdefault(name, {"late": bound, "seconds": time.monotonic() - started})
    return dict(answers)


def loaded(name: str, source: str, function: str, *arguments: Any) -> Callable[[], Any]:  # noqa: ANN401 - JSON data
    """Return the function of a shipped text with its arguments, in a namespace of its own."""
    namespace: dict[str, Any] = {"__name__": name}

    def call() -> Any:  # noqa: ANN401 - a probe returns what it likes
        exec(compile(source, name, "exec"), namespace)  # noqa: S102 - Backstay's own text
        return namespace[function](*arguments)

    return call


def run(command: Sequence[str], bound: float) -> str:
    """Return a program's output; raises OSError with its error text, or TimeoutExpired."""
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=bound,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:] or "failed")
    return done.stdout.decode(errors="replace")


def print_as_root(answer: Callable[[], Any], source: str) -> None:
    """Print what ``answer`` returns as JSON, as root; ``source`` as ``as_root`` has it."""

    def act() -> None:
        sys.stdout.write(json.dumps(answer()))
        sys.stdout.flush()

    as_root(act, source)


def as_root(act: Callable[[], Any], source: str) -> None:
    """Do it as root: by ``sudo`` for another user's login.

    ``source`` is the whole program for sudo's python3, empty where it is that already.
    """
    plain_messages()
    if os.geteuid() != 0:
        if not source:
            sys.exit("sudo does not make this user root")
        try:
            sudo = ["sudo", "-n", "python3", "-I", "-"]
            done = subprocess.run(sudo, input=source.encode(), check=False)
        except OSError as error:
            sys.exit(f"not root, and sudo cannot be used: {error}")
        sys.exit(done.returncode)
    as_root_logs_in()
    act()
    os._exit(0)  # threads whose question hangs must not hold the process


def reading_as_root(act: Callable[[], Any], source: str) -> None:
    """Do it as root, leaving standard input to it: by ``sudo`` for another user's login.

    ``source`` as ``as_root`` has it; the program is given by ``-c``, so it holds no secrets.
    """
    plain_messages()
    if os.geteuid() != 0:
        if not source:
            sys.exit("sudo does not make this user root")
        sudo = ["sudo", "-n", "python3", "-I", "-c", source]
        try:
            os.execvp("sudo", sudo)  # noqa: S606 - no shell wanted
        except OSError as error:
            sys.exit(f"not root, and sudo cannot be used: {error}")
    as_root_logs_in()
    act()


def plain_messages() -> None:
    """Let programs say what they say in English: what they refuse is recognised by it."""
    os.environ.pop("LANGUAGE", None)
    if "LC_ALL" in os.environ:
        os.environ["LANG"] = os.environ.pop("LC_ALL")
    os.environ["LC_MESSAGES"] = "C"


def as_root_logs_in() -> None:
    """Let programs find what root's own login gives them, whatever sudo has left of another's.

    Where sudo leaves them (``env_keep``, ``!env_reset``) HOME, the search path, the umask and the
    folder are another user's: settings would be read from there, and what is written is not
    readable for services. https://www.sudo.ws/docs/man/sudoers.man/#Command_environment
    """
    root = pwd.getpwuid(0)
    for name in [name for name in os.environ if name.startswith("SUDO_")]:
        del os.environ[name]
    os.environ.update(HOME=root.pw_dir, USER=root.pw_name, LOGNAME=root.pw_name)
    known = [part for part in os.environ.get("PATH", "").split(":") if part.startswith("/")]
    known += [part for part in ROOTS_PATH if part not in known]
    os.environ["PATH"] = ":".join(known)
    os.umask(0o022)
    os.chdir("/")
