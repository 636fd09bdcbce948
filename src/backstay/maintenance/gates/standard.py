"""All gates, asked at once."""

import asyncio
from collections.abc import Collection, Sequence

from backstay.maintenance.gates import backup, healthy, host, in_flight, others, quorum, window
from backstay.maintenance.gates.asked import Gate, GateInput
from backstay.maintenance.refusal import Refusal
from backstay.maintenance.timing import GATE

GATES: dict[str, Gate] = {
    others.NAME: others.gate,
    GATE: window.gate,
    healthy.NAME: healthy.gate,
    in_flight.NAME: in_flight.gate,
    host.NAME: host.gate,
    backup.NAME: backup.gate,
    quorum.NAME: quorum.gate,
}
# Another run's half-way cloud is ended by resuming or abandoning it; windows by --emergency.
MAY_BE_PASSED = tuple(name for name in GATES if name not in {others.NAME, GATE})


async def ask_all(asked: GateInput, skip_gates: Collection[str]) -> list[Refusal]:
    """Return every refusal, in the gates' order; gates in ``skip_gates`` are not asked."""
    wanted = [gate for name, gate in GATES.items() if name not in skip_gates]
    found: Sequence[Sequence[Refusal]] = await asyncio.gather(*(gate(asked) for gate in wanted))
    return [refusal for refusals in found for refusal in refusals]
