"""A run that was recorded on the lab: a reboot of its controller."""

import json
from pathlib import Path
from typing import Any

from backstay.journal.plan import Plan
from backstay.journal.records import Event, RunRecord, RunState, StepRecord, StepState

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> tuple[RunRecord, list[Event]]:
    """The run in ``data/NAME.json``, as `backstay runs show -o json` printed it."""
    read: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    events = [Event(**event) for event in read.pop("events")]
    read.pop("reports")
    steps = tuple(
        StepRecord(**(step | {"state": StepState(step["state"])})) for step in read.pop("steps")
    )
    plan, state = Plan.from_document(read.pop("plan")), RunState(read.pop("state"))
    return RunRecord(plan=plan, steps=steps, state=state, **read), events
