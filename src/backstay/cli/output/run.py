"""Plans and runs for a person: what will be done, what is being done, what was done."""

import contextlib
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from backstay.answers import clean
from backstay.cli.output.terminal import OutputFailed, echo, echo_json, harmless, rich_text, style
from backstay.cli.output.text import columns, local_time
from backstay.journal.engine import Progress
from backstay.journal.plan import Plan
from backstay.journal.records import Event, EventKind, RunRecord, RunState, StepRecord, StepState
from backstay.quantities import duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_COLOURS = {
    RunState.DONE: "green",
    RunState.FAILED: "red",
    RunState.REFUSED: "yellow",
    RunState.RUNNING: "cyan",
    RunState.PLANNED: "cyan",
    RunState.ABANDONED: "magenta",
}
_MARKS = {
    StepState.DONE: ("done", "green"),
    StepState.FAILED: ("FAILED", "red"),
    StepState.RUNNING: ("started", "cyan"),
    StepState.WAITING: ("-", "white"),
}


def plan_table(plan: Plan) -> str:
    """Return the plan as lines: number, host, what is done, and its bound."""
    lines = []
    if any(not step.target for step in plan.steps):  # not one host after another
        groups = [(", ".join(plan.targets), plan.steps)]
    else:
        groups = [(host, tuple(s for s in plan.steps if s.target == host)) for host in plan.targets]
    for name, steps in groups:
        lines.append(style(f"{plan.runbook} {name}", bold=True))
        lines += [
            f"  {number:>2}  {step.does:<84} at most {duration(step.bound):>6}"
            for number, step in enumerate(steps, 1)
        ]
    return "\n".join(lines) + "\n"


def show_plan(plan: Plan, *, as_json: bool = False) -> None:
    """Print a plan that is not carried out."""
    if as_json:
        echo_json({"plan": plan.document()})
        return
    echo(plan_table(plan) + f"  at most {duration(plan.bound)}")


def remaining_table(run: RunRecord) -> str:
    """Return the steps of a run that are not done, with their bounds."""
    left = [
        step
        for step, record in zip(run.plan.steps, run.steps, strict=True)
        if record.state is not StepState.DONE
    ]
    done = len(run.steps) - len(left)
    head = f"{run.id}: {done} of {len(run.steps)} steps are done; a resume would do the others\n"
    return head + plan_table(replace(run.plan, steps=tuple(left)))


class Live:
    """Prints a line when a step reports progress, and one when it ends.

    On a terminal the line of the step under way counts its seconds.
    """

    def __init__(self, plan: Plan, *, to_stderr: bool = False) -> None:
        self._err = to_stderr
        self._hosts = len(plan.targets) > 1
        self._started = time.monotonic()
        self._step_started = self._started
        self._bar: Bar | None = None

    def __call__(self, progress: Progress) -> None:
        """Show one event."""
        if progress.kind is EventKind.STARTED:
            self._step_started = time.monotonic()
            self._spin(f"{self._name(progress)}{progress.step.does}")
            return
        if progress.kind is EventKind.PROGRESS:
            self._line("..", "cyan", progress, progress.text, None)
            return
        self._stop()
        took = time.monotonic() - self._step_started
        if progress.kind is EventKind.DONE:
            text = f"{progress.step.does}{': ' if progress.text else ''}{progress.text}"
            self._line("ok", "green", progress, text, took)
        elif progress.error is not None:
            self._line("FAILED", "red", progress, progress.step.does, took)

    def _line(
        self, mark: str, colour: str, progress: Progress, text: str, took: float | None
    ) -> None:
        at = time.strftime("%H:%M:%S")
        seconds = f" ({took:.1f} s)" if took is not None and took >= 0.1 else ""
        styled = style(f"{mark:<6}", fg=colour, bold=mark == "FAILED")
        line = f"{at} {styled} {self._name(progress)}{clean(text)}{seconds}"
        if self._bar is None:
            with contextlib.suppress(OutputFailed):  # the run goes on; its journal has the line
                echo(line, err=self._err)
            return
        self._bar.console.print(rich_text(line))  # above the line that is being drawn

    def _name(self, progress: Progress) -> str:
        return f"{progress.step.target}: " if self._hosts and progress.step.target else ""

    def _spin(self, text: str) -> None:
        self._stop()
        if self._err or not sys.stdout.isatty():
            return
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        bar = Bar(
            TextColumn("        "),
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            transient=True,
        )
        bar.add_task(harmless(clean(text)), total=None)
        bar.start()
        self._bar = bar

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._stop()


def ending(run: RunRecord) -> str:
    """Return how a run ended: for a failure what was attempted, what came back, what to do."""
    word = style(run.state.value.upper(), fg=_COLOURS[run.state], bold=True)
    took = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    lines = [f"{word}: {run.plan.runbook} of {', '.join(run.plan.targets)}{took} ({run.id})"]
    failed = next((step for step in run.steps if step.state is StepState.FAILED), None)
    if failed is not None:
        lines.append(f"  {failed.error['attempted']}: {failed.error['came_back']}")
        lines.append(f"  what to do: {failed.error['remedy']}")
    undone = [step.id for step in run.steps if step.state is not StepState.DONE]
    if run.state is RunState.REFUSED:
        lines.append("  nothing has been changed")
    if run.state is RunState.FAILED:
        lines.append(f"  not done: {', '.join(undone)}")
        lines.append(f"  to continue from there: backstay runs resume {run.id}")
    return "\n".join(lines) + "\n"


def runs_table(runs: Sequence[RunRecord]) -> str:
    """Return one line for each run, the newest first."""
    if not runs:
        return "no runs yet\n"
    rows = [("run", "state", "what", "started", "took", "who", "reason")]
    rows += [
        (
            run.id,
            run.state.value,
            f"{run.plan.runbook} {', '.join(run.plan.targets)}",
            local_time(run.began or run.made),
            duration(run.seconds) if run.seconds is not None else "-",
            run.who,
            " ".join(filter(None, (run.ticket, run.reason))),
        )
        for run in runs
    ]
    return columns(rows, [_COLOURS[run.state] for run in runs], coloured=1)


def run_text(run: RunRecord, events: Sequence[Event]) -> str:
    """Return a run with its steps and everything that they reported, as a timeline."""
    lines = [ending(run).rstrip("\n")]
    lines.append(f"  planned {local_time(run.made)} by {run.who}; carried out by {run.holder}")
    if run.reason or run.ticket:
        lines.append(f"  reason: {' '.join(filter(None, (run.ticket, run.reason)))}")
    lines.append("")
    reported = {step.id: [e for e in events if e.step == step.id] for step in run.steps}
    for step, record in zip(run.plan.steps, run.steps, strict=True):
        name = f"{step.target}: " if len(run.plan.targets) > 1 and step.target else ""
        lines += _step(f"{name}{step.does}", record, reported[step.id])
    return "\n".join(lines) + "\n"


def _step(does: str, record: StepRecord, events: Sequence[Event]) -> Iterator[str]:
    mark, colour = _MARKS[record.state]
    at = local_time(record.began)[11:] if record.began else "        "
    took = ""
    if record.began is not None and record.ended is not None:
        took = f" ({record.ended - record.began:.1f} s)"
    again = f", started {record.attempts} times" if record.attempts > 1 else ""
    yield f"  {at} {style(f'{mark:<7}', fg=colour)} {does}{took}{again}"
    for event in events:
        if event.text:
            wrapped = textwrap.wrap(clean(event.text), 96, break_on_hyphens=False)
            yield from (f"                     {line}" for line in wrapped[:6])
