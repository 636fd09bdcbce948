"""Schema versions: a journal that an older version has written is upgraded where it is opened.

The journal's database has parts with tables of their own (the runs; the watch's incidents). The
table ``schema_versions`` holds the version of each part that is there; a part without a row was
written before there were versions, and is version 1.

An upgrade is done by one process at a time, in one transaction, and the new version is written in
that transaction. SQLite and PostgreSQL take changes of tables back with it. MariaDB commits them at
once, so a migration first creates new tables beside the old ones, then moves the rows, then lets
the old tables be dropped when all else is committed: whenever it is killed, the journal is as it
was, or upgraded. https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from backstay.journal.records import JournalError

Migration = Callable[[Connection], None]
"""Moves the rows of one version to the next. It may run again, also when there are new rows."""

_LOCK = 4_207_171  # PostgreSQL's advisory locks have numbers
_LOCK_SECONDS = 60

_METADATA = sa.MetaData()
_VERSIONS = sa.Table(
    "schema_versions",
    _METADATA,
    sa.Column("part", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The tables of one part of the journal, and how older ones become them.

    Attributes:
        part: the name of the part in ``schema_versions``.
        version: the version that ``tables`` are.
        tables: the tables as they are now.
        oldest: a table that this part alone has had in every version.
        migrations: from each older version to the one after it.
        dropped: tables of older versions, dropped when their rows have been moved.

    """

    part: str
    version: int
    tables: sa.MetaData
    oldest: str
    migrations: Mapping[int, Migration] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def open_schema(engine: Engine, db: Connection, schema: Schema) -> None:
    """Create or upgrade a part's tables if needed; ``db`` is a connection to read by.

    Raises JournalError if a newer version of Backstay has written them.
    """
    if _is_current(db, schema):
        return
    db.rollback()
    with _one_at_a_time(engine):
        with engine.begin() as writing:
            _upgrade(writing, schema)
        _drop(engine, schema)


def _is_current(db: Connection, schema: Schema) -> bool:
    tables = set(sa.inspect(db).get_table_names())
    if _version(db, schema, tables) != schema.version:
        return False
    return set(schema.tables.tables) <= tables and not tables & set(schema.dropped)


def _version(db: Connection, schema: Schema, tables: set[str]) -> int | None:
    """Return a part's version in the database, None where the part is not there."""
    known = None
    if _VERSIONS.name in tables:
        query = sa.select(_VERSIONS.c.version).where(_VERSIONS.c.part == schema.part)
        known = db.scalar(query)
    if known is None and schema.oldest in tables:
        known = 1
    if known is not None and not (isinstance(known, int) and known > 0):
        raise JournalError(
            "opening the journal",
            came_back=f"the version of its {schema.part} tables is {known!r}, and no number",
            remedy="restore it from a copy, or name another journal in BACKSTAY_JOURNAL",
        )
    if known is not None and known > schema.version:
        raise JournalError(
            "opening the journal",
            came_back=f"a newer version of Backstay has written it: its {schema.part} tables are "
            f"version {known}, and this version reads up to {schema.version}",
            remedy="use that version of Backstay, or name another journal in BACKSTAY_JOURNAL",
        )
    return known


def _upgrade(db: Connection, schema: Schema) -> None:
    # Another process may have done it while this one waited for its turn.
    tables = set(sa.inspect(db).get_table_names())
    version = _version(db, schema, tables)
    if tables & set(schema.dropped):  # not dropped yet, or an older Backstay has used them since
        version = 1
    _METADATA.create_all(db)
    schema.tables.create_all(db)
    for old in range(version or schema.version, schema.version):
        schema.migrations[old](db)
    here = _VERSIONS.c.part == schema.part
    if db.scalar(sa.select(sa.func.count()).select_from(_VERSIONS).where(here)):
        db.execute(sa.update(_VERSIONS).where(here).values(version=schema.version))
    else:
        db.execute(sa.insert(_VERSIONS).values(part=schema.part, version=schema.version))
    if db.dialect.name in {"sqlite", "postgresql"}:
        _drop_tables(db, schema)


def _drop(engine: Engine, schema: Schema) -> None:
    """Drop the old tables; whoever was killed before leaves that to the next opening."""
    with engine.begin() as db:
        _drop_tables(db, schema)


def _drop_tables(db: Connection, schema: Schema) -> None:
    for name in schema.dropped:
        sa.Table(name, sa.MetaData()).drop(db, checkfirst=True)


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """Keep other processes from upgrading meanwhile; SQLite's transactions do that themselves."""
    if engine.dialect.name == "sqlite":
        yield
        return
    on_postgresql = engine.dialect.name == "postgresql"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        if not (_advisory_lock(db) if on_postgresql else _get_lock(db)):
            shows = "the view pg_stat_activity" if on_postgresql else "SHOW PROCESSLIST"
            raise JournalError(
                "opening the journal",
                came_back=f"another process has been upgrading it for {_LOCK_SECONDS} s",
                remedy=f"try again when it has ended: {shows} shows it",
            )
        try:
            yield
        finally:
            db.execute(sa.text(_ADVISORY_UNLOCK if on_postgresql else _RELEASE_LOCK))


def _get_lock(db: Connection) -> bool:
    query = sa.text("SELECT GET_LOCK('backstay.schema', :seconds)")
    return bool(db.scalar(query, {"seconds": _LOCK_SECONDS}))


def _advisory_lock(db: Connection) -> bool:
    """Take the lock, and return whether it was free in time: by itself it waits without a bound.

    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
    """
    db.execute(sa.text(f"SET lock_timeout = '{_LOCK_SECONDS}s'"))
    try:
        db.execute(sa.text(f"SELECT pg_advisory_lock({_LOCK})"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            raise
        return False
    finally:
        db.execute(sa.text("RESET lock_timeout"))  # the connection is used again
    return True


_LOCK_NOT_AVAILABLE = "55P03"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_ADVISORY_UNLOCK = f"SELECT pg_advisory_unlock({_LOCK})"
_RELEASE_LOCK = "SELECT RELEASE_LOCK('backstay.schema')"
