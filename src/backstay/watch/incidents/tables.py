"""The watch's tables, in the journal's database."""

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

from backstay.journal import tables as journal

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
# What is to be told, written in the transaction that opens or closes the incident: an alert is lost
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
