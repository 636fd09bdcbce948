"""From samples to outages. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from backstay.transports.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Without an answer from ``begins`` until just before ``ends`` (Unix seconds).

    ``ends`` is None where no answer came any more.
    """

    begins: float
    ends: float | None

    def seconds(self, now: float) -> float:
        """Return how long it lasted, until ``now`` where it has not ended."""
        return (now if self.ends is None else self.ends) - self.begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What was seen of one address from ``since`` to ``until``."""

    what: str
    since: float
    until: float
    asked: int
    unanswered: int
    outages: tuple[Outage, ...]

    @property
    def down(self) -> float:
        """Return for how many seconds it was without an answer, in all."""
        return sum(outage.seconds(self.until) for outage in self.outages)


def watched(what: str, samples: Sequence[Sample]) -> Watched:
    """Return what samples, in order, tell. An outage ends with the first answer after it."""
    outages: list[Outage] = []
    begins: float | None = None
    for at, answered in samples:
        if not answered and begins is None:
            begins = at
        elif answered and begins is not None:
            outages.append(Outage(begins=begins, ends=at))
            begins = None
    if begins is not None:
        outages.append(Outage(begins=begins, ends=None))
    return Watched(
        what=what,
        since=samples[0][0] if samples else 0.0,
        until=samples[-1][0] if samples else 0.0,
        asked=len(samples),
        unanswered=sum(not answered for _, answered in samples),
        outages=tuple(outages),
    )
