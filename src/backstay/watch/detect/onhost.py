"""The program that runs on each host: it writes one status line each second.

Shipped as text (see ``health.shipping``): standard library, Python 3.6. No process is started for
what the kernel tells; systemd is asked every few seconds, and at once where a process has gone.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from backstay.jsondata import Json

WHOLE = 30  # lines: every so many, all is repeated, changed or not
ASK_SYSTEMD = 5.0
SYSTEMD_BOUND = 4.0
SHOWN = "Id,LoadState,ActiveState,SubState,Result,MainPID,ActiveEnterTimestampMonotonic"


def watch_host(spec: dict[str, Any]) -> None:
    """Write a line of JSON every ``every`` s until the reader is gone or ``lasts`` s are over.

    ``spec`` has ``units`` (names), ``probes`` (name, every, bound, source text, function's name)
    and the two durations. A line has ``n``, ``clock`` (the monotonic one, in seconds), ``lag`` (how
    late it is), ``waits`` (the share of the time in which a process waited for a processor), and
    what is new in ``units`` and ``answers``: ``host_answers`` reads it.
    """
    go_first()
    answers: dict[str, list[Any]] = {}
    for name, every, bound, source, function in spec["probes"]:
        begin_asking(answers, name, every, bound, probe(name, source, function))
    sent: dict[str, Any] = {"units": {}, "answers": {}}
    known: dict[str, list[Any]] = {}
    wake = threading.Event()
    if spec["units"]:
        begin_asking_systemd(spec["units"], known, wake)
    number, due, before = 0, time.monotonic(), (time.monotonic(), pressure())
    ends = due + spec["lasts"]
    while time.monotonic() < ends:
        now = time.monotonic()
        line: dict[str, Any] = {"n": number, "lag": round(now - due, 3), "clock": round(now)}
        waited = pressure()
        if waited is not None and before[1] is not None and now > before[0]:
            line["waits"] = round((waited - before[1]) / 1e6 / (now - before[0]), 2)
        before = (now, waited)
        if number == 0:
            line["boot"] = read("/proc/sys/kernel/random/boot_id").strip()
        whole = number % WHOLE == 0
        units = look_at_units(known, wake)
        if units != sent["units"] or whole:
            line["units"] = sent["units"] = units
        fresh = {
            name: said
            for name, said in latest(answers, now).items()
            if whole or said != sent["answers"].get(name)
        }
        sent["answers"].update(fresh)
        if fresh:
            line["answers"] = fresh
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        number += 1
        due = max(due + spec["every"], now)
        time.sleep(max(0.0, due - time.monotonic()))


def go_first() -> None:
    """Raise the priority: the host's own load must not delay its status lines."""
    with contextlib.suppress(OSError):  # in a container without that right
        os.nice(-10)


def probe(name: str, source: str, function: str) -> Any:  # noqa: ANN401 - a function
    """Return a shipped question that keeps what it needs, until an error."""
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(source, name, "exec"), namespace)  # noqa: S102 - Backstay's own text
    state: dict[str, Any] = {}

    def ask() -> Json:
        if not namespace[function].__code__.co_argcount:
            return namespace[function]()
        try:
            return namespace[function](state)
        except Exception:
            state.clear()
            raise

    return ask


def begin_asking(
    answers: dict[str, list[Any]],
    name: str,
    every: float,
    bound: float,
    ask: Callable[[], Any],
) -> None:
    """Ask again and again on a thread; ``answers`` gets number, how it ended, what came, times."""
    answers[name] = [0, "none", "", 0.0, time.monotonic(), bound]

    def work() -> None:
        number = 0
        while True:
            started = time.monotonic()
            answers[name][4] = started
            try:
                ended, said = "ok", ask()
            except OSError as error:
                late = isinstance(error, TimeoutError) or "timed out" in str(error)
                ended, said = "late" if late else "failed", str(error) or type(error).__name__
            except subprocess.TimeoutExpired:
                ended, said = "late", "timed out"
            except Exception as error:
                ended, said = "failed", type(error).__name__ + ": " + str(error)[:200]
            number += 1
            taken = time.monotonic() - started
            answers[name] = [number, ended, said, round(taken, 4), None, bound]
            time.sleep(max(0.05, every - taken))

    threading.Thread(target=work, daemon=True).start()


def latest(answers: dict[str, list[Any]], now: float) -> dict[str, list[Any]]:
    """Return the newest answers: number, how it ended, what came, seconds.

    One that is under way for longer than its bound is late, with a number of its own each time.
    """
    found = {}
    for name, (number, ended, said, seconds, started, bound) in list(answers.items()):
        if started is not None and now - started > bound:
            waiting = now - started
            found[name] = [number + waiting / 1e6, "late", "no answer yet", round(waiting, 1)]
        elif number:
            found[name] = [number, ended, said, seconds]
    return found


def begin_asking_systemd(names: list[str], known: dict[str, list[Any]], wake: Any) -> None:  # noqa: ANN401
    """Ask systemd on a thread, every few seconds and where woken: it may be busy for long."""

    def work() -> None:
        while True:
            shown = ask_systemd(names)
            if shown is not None:
                known.update(shown)
            wake.wait(ASK_SYSTEMD)
            wake.clear()

    threading.Thread(target=work, daemon=True).start()


def look_at_units(known: dict[str, list[Any]], wake: Any) -> dict[str, list[Any]]:  # noqa: ANN401
    """Return the state of each unit from systemd, and of its processes from the kernel.

    A list of load, active and sub state, result, a letter, and since when it is active (seconds of
    the monotonic clock). The letter is ``T`` where all its processes are stopped, ``X`` where the
    main one has ended and systemd has not reported it yet.
    """
    found = {}
    for name, (load, active, sub, result, pid, since) in list(known.items()):
        states, letter = family(pid), ""
        if states and not states.strip("Tt"):
            letter = "T"
        elif pid and not states.strip("Z"):
            letter = "X"
        if letter == "X" or active not in ("active", "inactive", "failed"):
            wake.set()
        found[name] = [load, active, sub, result, letter, since]
    return found


def ask_systemd(names: list[str]) -> Any:  # noqa: ANN401 - a dictionary, or None
    """Return states, result, main process and age of the units by name; None without answer."""
    try:
        done = subprocess.run(
            ["systemctl", "show", "--no-pager", "--property=" + SHOWN, *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SYSTEMD_BOUND,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = {}
    blocks = done.stdout.decode(errors="replace").strip().split("\n\n")
    if len(blocks) != len(names):
        return None
    for name, block in zip(names, blocks):  # noqa: B905 - Python 3.6
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[name] = [
            properties.get("LoadState", ""),
            properties.get("ActiveState", ""),
            properties.get("SubState", ""),
            properties.get("Result", ""),
            int(properties.get("MainPID") or 0),
            int(properties.get("ActiveEnterTimestampMonotonic") or 0) // 1000000,
        ]
    return found


def family(pid: int) -> str:
    """Return the state letters of a process and its descendants, empty where it has ended."""
    found, waiting = "", [pid] if pid else []
    while waiting and len(found) < 200:
        member = waiting.pop()
        text = read(f"/proc/{member}/stat")
        if not text:
            continue
        found += text[text.rindex(")") + 2]
        children = read(f"/proc/{member}/task/{member}/children")
        waiting.extend(int(one) for one in children.split())
    return found


def pressure() -> Any:  # noqa: ANN401 - a number, or None
    """Return for how many microseconds somebody waited for a processor since the boot.

    https://docs.kernel.org/accounting/psi.html
    """
    for line in read("/proc/pressure/cpu").splitlines():
        if line.startswith("some"):
            return int(line.rpartition("total=")[2])
    return None


def read(path: str) -> str:
    """Return a file's text, nothing where it cannot be read."""
    try:
        with open(path, errors="replace") as file:  # noqa: PTH123 - plain on purpose
            return file.read()
    except OSError:
        return ""
