"""Mutations of every recorded answer, digested in a process of its own.

::

    python -m tests.fuzz.all_answers run COUNT FOLDER   # what failed is saved in FOLDER
    python -m tests.fuzz.all_answers replay NAME FILE   # a saved input again, with its traceback
    python -m tests.fuzz.all_answers unread             # answers are declared that nothing reads

What comes of it is printed as JSON.
"""

import ast
import importlib
import inspect
import json
import logging
import os
import pkgutil
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import backstay
from backstay import answers
from tests.fuzz import apis, files, hosts, runbooks
from tests.fuzz.reader import Reader

BOUND = 2.0
"""Seconds of processor time for one input: others at work on this machine do not count."""
PATIENCE = 120.0
"""Seconds for one input, whatever it waits for."""
MOST_FAULTS = 20
PROGRESS = 5000
"""A line on standard error after so many."""
_READS = {"read", "convert", "part", "as_answer", "answers.read"}


class Hang(BaseException):
    """An input takes too long; nothing in between takes this for an error that it knows."""


def readers(folder: Path) -> Iterator[Reader]:
    """Give all readers; files are written beneath ``folder``."""
    yield from hosts.readers()
    yield from runbooks.readers()
    yield from apis.readers()
    yield from files.readers(folder)


class _Errors(logging.Handler):
    """What asyncio logs: exceptions that nobody has retrieved, with a traceback at the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note one."""
        self.found.append(self.format(record))


class Run:
    """A number of inputs, and what came of them."""

    def __init__(self, all_readers: list[Reader], folder: Path) -> None:
        self.turns = [one for one in all_readers for _ in range(one.share)]
        self.folder = folder
        self.faults: list[dict[str, Any]] = []
        self.refused = 0
        self.slowest: tuple[float, str, int] = (0.0, "", 0)
        self.errors = _Errors()
        logging.getLogger("asyncio").addHandler(self.errors)
        logging.getLogger("asyncio").propagate = False

    def all(self, count: int) -> None:
        """Digest ``count`` mutations: every reader has its turns, each with another seed."""
        for seed in range(count):
            self.one(self.turns[seed % len(self.turns)], seed)
            if seed % PROGRESS == PROGRESS - 1:
                sys.stderr.write(f"{seed + 1} inputs, {len(self.faults)} faults, {peak()} MB\n")
                sys.stderr.flush()
            if len(self.faults) == MOST_FAULTS:
                return

    def one(self, reader: Reader, seed: int) -> None:
        """Digest one mutation."""
        data = reader.mutation(seed)
        began, error = time.process_time(), ""
        try:
            within_bounds(reader, data)
        except reader.refuses:
            self.refused += 1
        except (Exception, Hang):
            error = traceback.format_exc()
        if self.errors.found:
            error += "\n".join(self.errors.found)
            self.errors.found.clear()
        self.slowest = max(self.slowest, (time.process_time() - began, reader.name, seed))
        if error:
            name = re.sub(r"[^\w.-]+", "-", reader.name)
            self.folder.mkdir(parents=True, exist_ok=True)
            saved = self.folder / f"{name}-{seed}"
            saved.write_bytes(data)
            self.faults.append(
                {"reader": reader.name, "seed": seed, "input": str(saved), "error": error[-4000:]}
            )
            sys.stderr.write(f"{self.faults[-1]}\n")


def within_bounds(reader: Reader, data: bytes) -> None:
    """Digest an input. Raises what its reader raises, and Hang."""

    def hangs(number: int, _frame: object) -> None:
        raise Hang(f"{BOUND:g} s of work" if number == signal.SIGPROF else f"{PATIENCE:g} s")

    signal.signal(signal.SIGPROF, hangs)
    signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_PROF, BOUND)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        reader.digest(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def recorded(reader: Reader) -> bytes:
    """Return the answer as it was recorded."""
    known = reader.recorded
    return known if isinstance(known, bytes) else json.dumps(known).encode()


def peak() -> int:
    """Return the most memory that this process has had, in MB, without its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1000


def declared() -> Iterator[tuple[str, Any]]:
    """Give the kinds of answers that the source names where it asks for one, or reads one."""
    for found in pkgutil.walk_packages(backstay.__path__, "backstay."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            for kind in _kinds(node):
                # A variable holds a kind that is named elsewhere.
                if ast.unparse(kind).rpartition(".")[2] not in {
                    "kind",
                    "returns",
                    "cls",
                    "untyped",
                }:
                    text = ast.unparse(kind)
                    yield f"{found.name}: {text}", eval(text, vars(module))


def _kinds(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call):
        yield from (one.value for one in node.keywords if one.arg == "returns")
        name = ast.unparse(node.func)
        if name in _READS and len(node.args) > 1 and ast.unparse(node.args[0]) != "path":
            yield node.args[0]


def unread(all_readers: list[Reader]) -> dict[str, list[str]]:
    """Return recorded answers that are refused, and declared kinds that no reader comes to."""
    refused = []
    for reader in all_readers:
        try:
            reader.digest(recorded(reader))
        except Exception as error:  # of any kind: what was recorded is right
            refused.append(f"{reader.name}: {error!r}")
    known = set(answers._READERS)
    return {
        "refused": refused,
        "unread": sorted({place for place, kind in declared() if kind not in known}),
    }


def main(words: list[str]) -> None:
    """Do what the words say."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["HOME"] = name
        found = list(readers(Path(name)))
        if words[0] == "replay":
            [reader] = [one for one in found if one.name == words[1]]
            within_bounds(reader, Path(words[2]).read_bytes())
        elif words[0] == "unread":
            sys.stdout.write(json.dumps(unread(found)))
        else:
            run, began = Run(found, Path(words[2])), time.monotonic()
            count = int(words[1])
            run.all(count)
            result = {
                "readers": len(found),
                "inputs": count,
                "refused": run.refused,
                "seconds": round(time.monotonic() - began, 1),
                "peak": peak(),
                "slowest": run.slowest,
                "faults": run.faults,
            }
            sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
