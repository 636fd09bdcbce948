"""The gate that asks for another run, working or left half-way."""

from collections.abc import Sequence

from backstay.journal.records import RunState
from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal

NAME = "runs"


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where another run was interrupted: the locks are ours, so nobody carries it out."""
    return [
        Refusal(
            gate=NAME,
            reason=f"run {run.id} was interrupted: it was carried out by {run.holder}",
            remedy=f"go on with it: backstay runs resume {run.id}; or give it up: "
            f"backstay runs abandon {run.id}",
        )
        for run in asked.runs
        if run.id != asked.run and run.state is RunState.RUNNING
    ]
