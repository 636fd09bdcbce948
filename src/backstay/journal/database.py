"""The journal's database: SQLite by default, PostgreSQL or MariaDB by URL.

This module imports SQLAlchemy, which takes its time: import it where a run is made or read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from backstay.journal.records import JournalError

BUSY_SECONDS = 15
"""How long a write waits for another process's before it is given up."""

_READS = "backstay_reads"


class Database:
    """Some tables in the database at an SQLAlchemy URL, made where they are not there.

    Its errors are the operator's: JournalError, without a password in a URL.
    """

    def __init__(self, url: str, tables: sa.MetaData) -> None:
        self.url = url
        with self._told("opening the journal"):
            self._engine = _engine(url)
            tables.create_all(self._engine)

    @contextmanager
    def write(self, attempted: str) -> Iterator[Connection]:
        """Give a transaction that is committed at its end. Raises JournalError."""
        with self._told(attempted), self._engine.begin() as db:
            yield db

    @contextmanager
    def read(self, attempted: str) -> Iterator[Connection]:
        """Give a connection to read by. Raises JournalError."""
        with self._told(attempted), self._engine.connect() as db:
            yield db.execution_options(**{_READS: True})

    def dispose(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def _told(self, attempted: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, ImportError, OSError) as error:
            reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
            if isinstance(error, ImportError | NoSuchModuleError | OSError):
                reason = str(error)
            place = _place(self.url)
            raise JournalError(
                f"{attempted} in {place}",
                came_back=" ".join(reason.split())[:300],
                remedy=f"see that {place} can be written and has space, or name another journal "
                "in BACKSTAY_JOURNAL",
            ) from error


def _place(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "BACKSTAY_JOURNAL"


def _engine(url: str) -> Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, isolation_level="SERIALIZABLE", pool_pre_ping=True)
    if parsed.database:
        file = Path(parsed.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#serializable-isolation-savepoints-transactional-ddl
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(db: Connection) -> None:
    """Begin with the right to write, but for a reader: beside a writer it reads what was before."""
    reads = db.get_execution_options().get(_READS, False)
    db.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    connection.isolation_level = None
    cursor = connection.cursor()
    # A power cut of the operator's machine must not take back what was committed.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
