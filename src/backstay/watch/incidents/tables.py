"""The watch's tables, in the journal's database."""

from collections.abc import Mapping
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
from backstay.watch.incidents.incident import (
    Approval,
    Cause,
    Incident,
    Kind,
    TimelineEntry,
    Urgency,
)
from backstay.watch.incidents.notification import Delivery, Notification, NotificationEvent
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


def records_of(db: Connection, which: sa.ColumnElement[bool]) -> list[IncidentRecord]:
    """Return some incidents with their notifications, oldest first."""
    query = sa.select(INCIDENTS).where(which).order_by(INCIDENTS.c.opened, INCIDENTS.c.id)
    return [record_of(db, row) for row in db.execute(query).mappings().all()]


def record_of(db: Connection, row: RowMapping) -> IncidentRecord:
    """Return an incident with its notifications."""
    query = sa.select(NOTIFICATIONS).where(NOTIFICATIONS.c.incident == row["id"])
    notifications = db.execute(query.order_by(NOTIFICATIONS.c.made, NOTIFICATIONS.c.id)).mappings()
    return IncidentRecord(
        incident=incident_of(db, row), notifications=tuple(map(notification_of, notifications))
    )


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
    known = {(row["at"], row["kind"], clean(row["text"])) for row in db.execute(query).mappings()}
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
    """Return an incident with its timeline."""
    query = sa.select(TIMELINE).where(TIMELINE.c.incident == row["id"])
    cause = row["cause"]
    return Incident(
        id=row["id"],
        cloud=row["cloud"],
        cause=Cause(
            **{
                **cause,
                "kind": Kind(cause["kind"]),
                "urgency": Urgency(cause["urgency"]),
                "evidence": tuple(cause["evidence"]),
                "symptoms": tuple(cause["symptoms"]),
            }
        ),
        began=row["began"],
        opened=row["opened"],
        closed=row["closed"],
        run=row["run"],
        timeline=tuple(
            TimelineEntry(at=one["at"], kind=one["kind"], text=one["text"])
            for one in db.execute(query.order_by(TIMELINE.c.at, TIMELINE.c.number)).mappings()
        ),
    )


def notification_of(row: RowMapping) -> Notification:
    """Return a notification."""
    return Notification(
        **{name: row[name] for name in Notification.__slots__ if name not in {"event", "state"}},
        event=NotificationEvent(row["event"]),
        state=Delivery(row["state"]),
    )


def approval_of(row: RowMapping) -> Approval:
    """Return an approval."""
    return Approval(**{name: row[name] for name in Approval.__slots__})
