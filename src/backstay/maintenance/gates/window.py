"""The gate that asks whether there is time left for this host."""

from collections.abc import Sequence
from datetime import UTC, datetime

from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal
from backstay.maintenance.timing import GATE, describe_time
from backstay.quantities import duration


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse where the hosts that are left would not be done when the window closes."""
    if asked.closes is None or asked.now + asked.expected <= asked.closes:
        return []
    closes = datetime.fromtimestamp(asked.closes, UTC)
    left = asked.closes - asked.now
    closing = f"closes in {duration(left)}" if left > 0 else f"closed {duration(-left)} ago"
    reason = (
        f"the window {closing}, at {describe_time(closes)}; {asked.host} is expected to take "
        f"{duration(asked.expected)}"
    )
    return [Refusal(gate=GATE, reason=reason, remedy="go on in the next window")]
