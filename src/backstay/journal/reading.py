"""Rows of the journal as records. A row that is damaged is one error that names its run.

A journal is a file of the operator's machine: a disk that fails, a copy that was cut short or a
hand that has edited it may leave anything in a column. Nothing of it is believed before it is
checked here, and the runs beside a damaged one are read all the same.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from backstay.answers import BadAnswer, Seconds, convert
from backstay.journal.plan import Plan
from backstay.journal.records import (
    FAILURE,
    DamagedRun,
    Event,
    RunRecord,
    RunState,
    StepRecord,
    StepState,
    with_current_keys,
)

Row = Mapping[str, Any]
_STEP = ("id", "state", "began", "ended", "attempts")
_EVENT = ("at", "step", "kind", "text")
_LONGEST_NAME = 40


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of a run beside its plan and its steps, as ``RunRecord`` has it."""

    id: str
    state: RunState
    who: str
    holder: str
    reason: str
    ticket: str
    made: Seconds
    began: Seconds | None
    ended: Seconds | None


@dataclass(frozen=True, slots=True)
class Damaged:
    """What a column of JSON gives whose text is no JSON: why."""

    why: str


def decoded(text: str | bytes) -> Any:  # noqa: ANN401 - JSON data
    """Return a column of JSON decoded, or what is wrong with it: the other rows are read on."""
    try:
        return json.loads(text)
    except RecursionError:
        return Damaged("nested too deeply")
    except (ValueError, TypeError) as error:
        return Damaged(f"not JSON: {error}")


def run_record(row: Row, steps: Iterable[Row]) -> RunRecord:
    """Return a run from its row and those of its steps, in their order. Pure.

    Raises DamagedRun also where they do not belong together.
    """
    try:
        plan = Plan.from_document(_column(row, "plan"))
        records = convert(tuple[StepRecord, ...], [_step(step) for step in steps])
        if [step.id for step in records] != [step.id for step in plan.steps]:
            raise BadAnswer("its steps are not those of its plan")
        known = convert(_Known, {field.name: row[field.name] for field in fields(_Known)})
    except BadAnswer as error:
        over = row["state"] in {RunState.DONE, RunState.REFUSED, RunState.ABANDONED}
        name = str(row["id"])[:_LONGEST_NAME]
        raise DamagedRun(name, came_back=str(error), over=over) from error
    return RunRecord(plan=plan, steps=records, **vars(known))


def events(rows: Iterable[Row], run: str) -> list[Event]:
    """Return the events of a run from their rows. Pure. Raises DamagedRun."""
    try:
        return [convert(Event, {key: row[key] for key in _EVENT}) for row in rows]
    except BadAnswer as error:
        raise DamagedRun(run, came_back=str(error), over=False) from error


def _step(row: Row) -> dict[str, Any]:
    result, error = _column(row, "result"), _column(row, "error")
    if isinstance(result, Mapping):
        result = with_current_keys(result)
    if isinstance(error, Mapping) and row["state"] == StepState.FAILED:
        error = dict.fromkeys(FAILURE, "not recorded") | dict(error)
    return {name: row[name] for name in _STEP} | {"result": result, "error": error}


def _column(row: Row, name: str) -> Any:  # noqa: ANN401 - JSON data
    value = row[name]
    if isinstance(value, Damaged):
        raise BadAnswer(value.why, place=f"{name} of {row['id']}")
    return value
