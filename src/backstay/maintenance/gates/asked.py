"""What a gate is asked about, and what it may ask in turn."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backstay.finding import Finding
from backstay.inventory.cloud import Cloud
from backstay.journal.records import RunRecord
from backstay.maintenance.refusal import Refusal
from backstay.services.declaration import InFlightTask


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """What is about to be done: ``host`` goes down, in ``run``, at ``now`` (Unix seconds).

    ``findings`` are a check's of just now; ``known`` are names of findings that were bad before
    an earlier host of the same run went down, None for the first. ``closes`` is when the window
    closes and ``expected`` how long it takes from here on, in seconds. ``on_host`` is what the host
    itself told (``onhost.look``), empty where it told nothing. ``in_flight`` asks for work under
    way; ``idle`` is for how many seconds its end is awaited. ``runs`` are this cloud's.
    ``backed_up`` is when the newest verified backup of the host was taken (Unix seconds).
    """

    cloud: Cloud
    host: str
    run: str
    now: float
    findings: Sequence[Finding]
    known: frozenset[tuple[str | None, str, str]] | None
    on_host: Mapping[str, Any]
    in_flight: Callable[[], Awaitable[Sequence[InFlightTask]]]
    idle: float
    runs: Sequence[RunRecord]
    say: Callable[[str], None]
    backed_up: float | None = None
    closes: float | None = None
    expected: float = 0.0


class Gate(Protocol):
    """One question."""

    async def __call__(self, asked: GateInput) -> Sequence[Refusal]:
        """Return the reasons against it, none if it may be done."""
