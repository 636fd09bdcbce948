"""Rows of the journal as incidents. A row that is damaged is one error that names its incident.

As for runs (``journal.reading``): a disk that fails or a hand that has edited the file may leave
anything in a column. The incidents beside a damaged one are read all the same, and of an incident
that can be read the other lines and notifications. Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from backstay.answers import BadAnswer, convert
from backstay.journal.reading import Damaged
from backstay.journal.records import JournalError
from backstay.watch.incidents.incident import Incident, TimelineEntry
from backstay.watch.incidents.notification import Notification
from backstay.watch.incidents.record import IncidentRecord

Row = Mapping[str, Any]
T = TypeVar("T")
_INCIDENT = ("id", "cloud", "began", "opened", "closed", "run")
_LINE = ("at", "kind", "text")


class DamagedIncident(JournalError):
    """What the journal holds of an incident, ``number``, cannot be read."""

    def __init__(self, number: int, *, part: str, came_back: str) -> None:
        super().__init__(
            f"reading {part}incident {number} in the journal",
            came_back=f"it is damaged: {came_back}",
            remedy="what can be read is used, and what still fails without an incident opens one; "
            "to have this back, restore the journal from a copy",
        )
        self.number = number


Report = Callable[[DamagedIncident], None]
"""Takes what is damaged and left out."""


def left_out(_error: DamagedIncident) -> None:
    """Take what is damaged, and say nothing of it."""


def incident(row: Row, timeline: Iterable[Row], report: Report = left_out) -> Incident:
    """Return an incident from its row and those of its timeline, in their order.

    Raises DamagedIncident; lines that are damaged are reported and left out.
    """
    number = int(row["id"])
    lines = _each(TimelineEntry, timeline, _LINE, number, part="a line of ", report=report)
    try:
        cause = row["cause"]
        if isinstance(cause, Damaged):
            raise BadAnswer(cause.why, place="cause")
        values = {name: row[name] for name in _INCIDENT}
        found = convert(Incident, {**values, "cause": cause, "timeline": []})
    except BadAnswer as error:
        raise DamagedIncident(number, part="", came_back=str(error)) from error
    return replace(found, timeline=tuple(lines))


def notifications(
    rows: Iterable[Row], number: int, report: Report = left_out
) -> list[Notification]:
    """Return the notifications of an incident; those that are damaged are reported, left out."""
    names = tuple(Notification.__slots__)
    return _each(Notification, rows, names, number, part="a notification of ", report=report)


def record(
    row: Row, timeline: Iterable[Row], sent: Iterable[Row], report: Report = left_out
) -> IncidentRecord:
    """Return an incident with its notifications. Raises and reports as ``incident`` does."""
    made = incident(row, timeline, report)
    return IncidentRecord(incident=made, notifications=tuple(notifications(sent, made.id, report)))


def _each(
    kind: type[T],
    rows: Iterable[Row],
    names: tuple[str, ...],
    number: int,
    *,
    part: str,
    report: Report,
) -> list[T]:
    found = []
    for row in rows:
        try:
            found.append(convert(kind, {name: row[name] for name in names}))
        except BadAnswer as error:
            report(DamagedIncident(number, part=part, came_back=str(error)))
    return found
