"""The watch's tables, in the journal's database."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.engine import Connection, RowMapping

from backstay.answers import clean
from backstay.journal import tables as journal
from backstay.watch.incidents import reading
from backstay.watch.incidents.incident import Approval, Incident
from backstay.watch.incidents.notification import Notification
from backstay.watch.incidents.reading import DamagedIncident, Report, left_out
from backstay.watch.incidents.record import IncidentRecord

METADATA = MetaData()
# Who leads the watch of a cloud: the journal's own table, which may not be there yet.
EPOCHS = journal.EPOCHS.to_metadata(METADATA)

INCIDENTS = Table(
    "incidents",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("cloud", String(200), nullable=False),
    Column("key", String(400), nullable=False),
    Column("cause", JSON, nullable=False),
    Column("began", Float(53), nullable=False),
    Column("opened", Float(53), nullable=False),
    Column("closed", Float(53)),
    Column("run", String(40), nullable=False),
    Index("incidents_open", "cloud", "closed"),
)
TIMELINE = Table(
    "incident_events",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("incident", ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Float(53), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
)
# Notifications are written in the transaction that opens or closes the incident: an alert is lost
# by no crash. A row goes waiting, sending, sent; or failed, and then to another channel.
NOTIFICATIONS = Table(
    "notifications",
    METADATA,
    Column("id", String(80), primary_key=True),
    Column("incident", ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("channel", String(100), nullable=False),
    Column("event", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("made", Float(53), nullable=False),
    Column("next", Float(53), nullable=False),
    Column("sent", Float(53)),
    Column("error", Text, nullable=False),
)
# A row for each subject and minute.
SAMPLES = Table(
    "samples",
    METADATA,
    Column("cloud", String(200), primary_key=True),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("subject", String(300), primary_key=True),
    Column("asked", Integer, nullable=False),
    Column("answered", Integer, nullable=False),
    Column("median", Float(53)),
    Column("longest", Float(53)),
)
APPROVALS = Table(
    "approvals",
    METADATA,
    Column("code_digest", String(64), primary_key=True),
    Column("incident", ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("run", String(40), nullable=False),
    Column("made", Float(53), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("used", Float(53)),
    Column("by", String(200), nullable=False),
    Column("refused", Boolean, nullable=False, default=False),
)


def row_of(db: Connection, number: int, cloud: str | None = None) -> Any:  # noqa: ANN401 - a row
    """Return an incident's row, None where there is none of that number."""
    query = sa.select(INCIDENTS).where(INCIDENTS.c.id == number)
    if cloud is not None:
        query = query.where(INCIDENTS.c.cloud == cloud)
    return db.execute(query).mappings().first()


def records_of(
    db: Connection, which: sa.ColumnElement[bool], report: Report = left_out
) -> list[IncidentRecord]:
    """Return some incidents with their notifications, oldest first.

    Those that are damaged are reported and left out.
    """
    query = sa.select(INCIDENTS).where(which).order_by(INCIDENTS.c.opened, INCIDENTS.c.id)
    found = []
    for row in db.execute(query).mappings().all():
        try:
            found.append(record_of(db, row, report))
        except DamagedIncident as error:
            report(error)
    return found


def record_of(db: Connection, row: RowMapping, report: Report = left_out) -> IncidentRecord:
    """Return an incident with its notifications. Raises DamagedIncident."""
    query = sa.select(NOTIFICATIONS).where(NOTIFICATIONS.c.incident == row["id"])
    sent = db.execute(query.order_by(NOTIFICATIONS.c.made, NOTIFICATIONS.c.id)).mappings().all()
    return reading.record(dict(row), _timeline(db, row), [dict(one) for one in sent], report)


def put_record(db: Connection, record: IncidentRecord) -> None:
    """Write a record, which holds all that is written of it already."""
    incident = record.incident
    values = {
        "cloud": incident.cloud,
        "key": incident.cause.key,
        "cause": asdict(incident.cause),
        "began": incident.began,
        "opened": incident.opened,
        "closed": incident.closed,
        "run": incident.run,
    }
    upsert(db, INCIDENTS, INCIDENTS.c.id == incident.id, {"id": incident.id, **values})
    query = sa.select(TIMELINE).where(TIMELINE.c.incident == incident.id)
    known = {
        (row["at"], row["kind"], clean(str(row["text"]))) for row in db.execute(query).mappings()
    }
    for one in incident.timeline:
        if (one.at, one.kind, one.text) not in known:
            db.execute(sa.insert(TIMELINE).values(incident=incident.id, **asdict(one)))
    for notification in record.notifications:
        upsert(db, NOTIFICATIONS, NOTIFICATIONS.c.id == notification.id, asdict(notification))


def upsert(
    db: Connection, table: sa.Table, same: sa.ColumnElement[bool], values: Mapping[str, Any]
) -> None:
    """Write a row, whether it is there or not: it is what ``same`` finds."""
    # MariaDB counts only rows that it changes: rowcount does not show whether one is there.
    if db.scalar(sa.select(sa.func.count()).select_from(table).where(same)):
        db.execute(sa.update(table).where(same).values(**values))
    else:
        db.execute(sa.insert(table).values(**values))


def incident_of(db: Connection, row: RowMapping) -> Incident:
    """Return an incident with its timeline. Raises DamagedIncident."""
    return reading.incident(dict(row), _timeline(db, row))


def incidents_of(db: Connection, rows: Iterable[RowMapping]) -> list[Incident]:
    """Return the incidents of some rows; those that are damaged are left out."""
    found = []
    for row in rows:
        with contextlib.suppress(DamagedIncident):
            found.append(incident_of(db, row))
    return found


def _timeline(db: Connection, row: RowMapping) -> list[dict[str, Any]]:
    query = sa.select(TIMELINE).where(TIMELINE.c.incident == row["id"])
    found = db.execute(query.order_by(TIMELINE.c.at, TIMELINE.c.number)).mappings()
    return [dict(one) for one in found]


def notifications_of(rows: Iterable[RowMapping]) -> list[Notification]:
    """Return the notifications of some rows; those that are damaged are left out."""
    return [one for row in rows for one in reading.notifications([dict(row)], row["incident"])]


def approval_of(row: RowMapping) -> Approval:
    """Return an approval."""
    return Approval(**{name: row[name] for name in Approval.__slots__})
