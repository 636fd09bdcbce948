"""From samples to outages. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from backstay.transports.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time without an answer, from ``begins`` until just before ``ends`` (Unix seconds).

    ``ends`` is None where no answer came any more.
    """

    begins: float
    ends: float | None

    def seconds(self, now: float) -> float:
        """Return how long it lasted, until ``now`` where it has not ended."""
        return (now if self.ends is None else self.ends) - self.begins


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageSeries:
    """The answers of one API or instance, asked at short intervals.

    Attributes:
        kind: ``api`` or ``instance``.
        what: its name.
        since: when it was asked first, in Unix seconds; 0 where it never was.
        until: when it was asked last.
        asked: how many times.
        unanswered: how many times it did not answer.
        outages: the times without an answer, in order.
        down: for how many seconds it did not answer, in all.

    """

    kind: str
    what: str
    since: float
    until: float
    asked: int
    unanswered: int
    outages: tuple[Outage, ...]
    down: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the series that was stored as JSON data."""
        outages = tuple(Outage(**outage) for outage in data["outages"])
        return cls(**{**data, "outages": outages})


def outage_series(kind: str, what: str, samples: Sequence[Sample]) -> OutageSeries:
    """Return the outages in samples, which are in order.

    An outage ends with the first answer after it.
    """
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
    until = samples[-1][0] if samples else 0.0
    return OutageSeries(
        kind=kind,
        what=what,
        since=samples[0][0] if samples else 0.0,
        until=until,
        asked=len(samples),
        unanswered=sum(not answered for _, answered in samples),
        outages=tuple(outages),
        down=round(sum(outage.seconds(until) for outage in outages), 3),
    )
