"""A dossier: an incident with all that is told of it; how it grows, and how two copies are joined.

Pure. One incident may be written in two places, as one of them could not be written for a while.
Copies are only ever added to, so that joining them in any order, any number of times, gives the
same, and loses nothing.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from backstay.watch.incidents.incident import Cause, Happened, Incident
from backstay.watch.incidents.notification import Delivery, Telling, Word

UNNUMBERED = 1_000_000_000
"""Incidents from this number on were opened while the journal could not give them the next one."""
_NUMBERS = 1_147_000_000  # up to the largest number of 32 bits
_FINAL = {Delivery.FAILED: 1, Delivery.SENT: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """An incident, and its tellings in the order in which they were made."""

    incident: Incident
    tellings: tuple[Telling, ...] = ()

    @property
    def unsent(self) -> tuple[Telling, ...]:
        """Return what is still to be told."""
        return tuple(one for one in self.tellings if one.state not in _FINAL)

    @property
    def finished(self) -> bool:
        """Say whether it is over, and nothing of it is still to be told."""
        return self.incident.closed is not None and not self.unsent


def unnumbered(cloud: str, cause: Cause, at: float) -> int:
    """Return a number for an incident that the journal cannot number, another for each."""
    return UNNUMBERED + zlib.crc32(f"{cloud} {cause.key} {at}".encode()) % _NUMBERS


def opened(
    number: int, cloud: str, cause: Cause, *, began: float, at: float, channels: Iterable[str]
) -> Dossier:
    """Return a new incident's."""
    first = Happened(at=at, kind="opened", text=cause.title)
    incident = Incident(
        id=number, cloud=cloud, cause=cause, began=began, opened=at, happened=(first,)
    )
    return _told(Dossier(incident=incident), Word.OPENED, at, channels)


def changed(
    dossier: Dossier, cause: Cause, *, at: float, text: str, channels: Iterable[str] = ()
) -> Dossier:
    """Return it with more, or something else, known of its cause."""
    incident = replace(dossier.incident, cause=cause)
    return _told(_with(replace(dossier, incident=incident), at, "changed", text), Word.CHANGED, at,
                 channels)  # fmt: skip


def noted(
    dossier: Dossier,
    kind: str,
    text: str,
    *,
    at: float,
    run: str | None = None,
    word: Word | None = None,
    channels: Iterable[str] = (),
) -> Dossier:
    """Return it with a line more; ``run`` was begun for it; ``word`` is what is told, if any."""
    if run is not None:
        dossier = replace(dossier, incident=replace(dossier.incident, run=run))
    dossier = _with(dossier, at, kind, text)
    return dossier if word is None else _told(dossier, word, at, channels)


def closed(dossier: Dossier, *, at: float, text: str, channels: Iterable[str]) -> Dossier:
    """Return it over; one that is over already stays as it is."""
    if dossier.incident.closed is not None:
        return dossier
    dossier = replace(dossier, incident=replace(dossier.incident, closed=at))
    return _told(_with(dossier, at, "closed", text), Word.CLOSED, at, channels)


def with_telling(dossier: Dossier, telling: Telling) -> Dossier:
    """Return it with a telling as it is now."""
    return replace(
        dossier, tellings=tuple(telling if o.id == telling.id else o for o in dossier.tellings)
    )


def given_up(dossier: Dossier, telling: Telling, *, error: str, instead: Iterable[str]) -> Dossier:
    """Return it with a telling that cannot be sent, told the same through other channels."""
    failed = replace(telling, state=Delivery.FAILED, error=error)
    return _told(with_telling(dossier, failed), telling.word, telling.made, instead)


def _with(dossier: Dossier, at: float, kind: str, text: str) -> Dossier:
    happened = (*dossier.incident.happened, Happened(at=at, kind=kind, text=text))
    return replace(dossier, incident=replace(dossier.incident, happened=happened))


def _told(dossier: Dossier, word: Word, at: float, channels: Iterable[str]) -> Dossier:
    """Add a telling for each channel; its name tells incident, word, count and channel."""
    tellings = list(dossier.tellings)
    for channel in channels:
        count = sum((one.word, one.channel) == (word, channel) for one in tellings)
        tellings.append(
            Telling(
                id=f"{dossier.incident.id}.{word}.{count}.{channel}"[:80],
                incident=dossier.incident.id, channel=channel, word=word, state=Delivery.WAITING,
                attempts=0, made=at, next=at,
            )
        )  # fmt: skip
    return replace(dossier, tellings=tuple(tellings))


def joined(one: Dossier, other: Dossier) -> Dossier:
    """Return what two copies of one dossier hold together."""
    first, second = sorted(
        (one, other), key=lambda it: (len(it.incident.happened), it.incident.run), reverse=True
    )
    ends = [it.incident.closed for it in (one, other) if it.incident.closed is not None]
    tellings = {telling.id: telling for telling in first.tellings}
    for telling in second.tellings:
        known = tellings.get(telling.id, telling)
        tellings[telling.id] = max(known, telling, key=_progress)
    return Dossier(
        incident=replace(
            first.incident,
            began=min(one.incident.began, other.incident.began),
            opened=min(one.incident.opened, other.incident.opened),
            closed=min(ends, default=None),
            run=first.incident.run or second.incident.run,
            happened=_together(first.incident.happened, second.incident.happened),
        ),
        tellings=tuple(sorted(tellings.values(), key=lambda it: (it.made, it.id))),
    )


def folded(known: Dossier, again: Dossier) -> Dossier:
    """Return one incident of two that turn out to be the same: the known one's, with all of both.

    What was told of the one that it has begun is not told of the other.
    """
    number = known.incident.id
    renumbered = replace(
        again,
        incident=replace(
            again.incident,
            id=number,
            happened=tuple(it for it in again.incident.happened if it.kind != "opened"),
        ),
        tellings=tuple(replace(it, incident=number) for it in again.tellings),
    )
    both = joined(known, renumbered)
    cause = max((again, known), key=lambda it: it.incident.opened).incident.cause
    return Dossier(incident=replace(both.incident, cause=cause), tellings=_once(both.tellings))


def _once(tellings: Sequence[Telling]) -> tuple[Telling, ...]:
    """Return the tellings with each channel's word of the beginning but once."""
    best: dict[str, Telling] = {}
    for one in tellings:
        if one.word is Word.OPENED:
            known = best.get(one.channel, one)
            best[one.channel] = max(known, one, key=_progress)
    return tuple(
        one
        for one in tellings
        if one.word is not Word.OPENED or one.state in _FINAL or one is best[one.channel]
    )


def _together(one: Sequence[Happened], other: Sequence[Happened]) -> tuple[Happened, ...]:
    lines = [*one, *(line for line in other if line not in one)]
    return tuple(sorted(lines, key=lambda it: it.at))


def _progress(telling: Telling) -> tuple[int, int, bool, float]:
    """Return how far a telling is, to compare two copies of it: it never goes back."""
    waits = telling.state is Delivery.WAITING  # again, after an attempt of the same count
    return (_FINAL.get(telling.state, 0), telling.attempts, waits, telling.next)
