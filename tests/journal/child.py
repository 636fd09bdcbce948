"""A process that carries out a plan and is killed: python -m tests.journal.child FOLDER [POINT].

The plan's effects are lines appended to a file. With POINT it kills itself at the point of that
number; points are before and after each effect and each thing that the journal writes.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.journal.action import Action, Runbook, Running
from backstay.journal.engine import Progress, carry_out
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunState
from backstay.journal.result import StepResult
from backstay.journal.store import Store

STEPS = tuple(
    Step(id=name, action="append", target="", does=f"append {name}", bound=10)
    for name in ("one", "two", "three", "four")
)
PLAN = Plan(runbook="trial", cloud="here", targets=("a",), steps=STEPS)


@dataclass(frozen=True, kw_only=True)
class JsonResult(StepResult):
    """A result that is stored as ``data`` is."""

    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.data)


class Killer:
    """Kills this process at the point of the given number, counted from 1."""

    def __init__(self, point: int) -> None:
        self.point = point
        self.passed = 0

    def here(self) -> None:
        """Pass a point."""
        self.passed += 1
        if self.passed == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


class Append(Action[JsonResult]):
    """Appends the step's name to the file of effects."""

    def __init__(self, file: Path, killer: Killer) -> None:
        self.file = file
        self.killer = killer

    async def do(self, running: Running) -> JsonResult:
        """Append a line, on disk before this returns."""
        self.killer.here()
        with self.file.open("a") as out:
            out.write(f"{running.step.id}\n")
            out.flush()
            os.fsync(out.fileno())
        self.killer.here()
        running.report("appended")
        return JsonResult(data={"line": running.step.id, "before": sorted(running.results)})

    async def probe(self, running: Running) -> JsonResult | None:
        """Look whether the line is there."""
        self.killer.here()
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return JsonResult(data={"line": running.step.id}) if running.step.id in lines else None


def main(folder: Path, point: int) -> RunState:
    """Start the run, or resume the one that is there."""
    killer = Killer(point)
    store = Store(f"sqlite:///{folder / 'journal.db'}")
    killer.here()
    there = store.runs()
    run = there[0] if there else store.run(store.create(PLAN))

    def watch(_progress: Progress) -> None:
        killer.here()

    actions = {"append": Append(folder / "effects", killer)}
    locks = f"file://{folder / 'locks'}"
    return asyncio.run(carry_out(store, run, Runbook(actions=actions), locks=locks, progress=watch))


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
