"""The journal's tables."""

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    update,
)

from backstay.journal.migrations import Schema

METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("cloud", String(200), nullable=False),
    Column("runbook", String(60), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("who", String(200), nullable=False),
    Column("holder", String(400), nullable=False),
    Column("reason", Text, nullable=False),
    Column("ticket", String(200), nullable=False),
    Column("made", Float(53), nullable=False),
    Column("began", Float(53)),
    Column("ended", Float(53)),
)
STEPS = Table(
    "steps",
    METADATA,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("id", String(120), nullable=False),
    Column("state", String(20), nullable=False),
    Column("began", Float(53)),
    Column("ended", Float(53)),
    Column("attempts", Integer, nullable=False),
    Column("result", JSON, nullable=False),
    Column("error", JSON, nullable=False),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("run", ForeignKey("runs.id"), nullable=False, index=True),
    Column("at", Float(53), nullable=False),
    Column("step", String(120), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
)
# Who may write about a target: taking it raises the epoch, and every write compares it, so that a
# process that lost its lock without noticing cannot write any more.
EPOCHS = Table(
    "epochs",
    METADATA,
    Column("target", String(300), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("holder", String(400), nullable=False),
    Column("run", String(40), nullable=False),
    Column("at", Float(53), nullable=False),
)


def _rename_kinds(db: Connection) -> None:
    """Version 2: events are called ``started`` and ``progress``, not ``begins`` and ``says``."""
    for old, new in (("begins", "started"), ("says", "progress")):
        db.execute(update(EVENTS).where(EVENTS.c.kind == old).values(kind=new))


SCHEMA = Schema(
    part="runs", version=2, tables=METADATA, oldest="runs", migrations={1: _rename_kinds}
)
