"""The journal's database: SQLite by default, PostgreSQL or MariaDB by URL.

This module imports SQLAlchemy, which takes its time: import it where a run is made or read.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from backstay.errors import own_error
from backstay.journal import drivers
from backstay.journal.migrations import Schema, open_schema
from backstay.journal.reading import decoded
from backstay.journal.records import JournalError
from backstay.transports.urls import redacted, without_secrets

BUSY_SECONDS = 15
"""How many seconds a write waits for another process's before it is given up."""


class Database:
    """One part of the journal in the database at an SQLAlchemy URL.

    Its tables are created at the first use, or upgraded if an older version has written them.

    It raises JournalError, without a password in a URL: at once for a URL that names no usable kind
    of database, at its use for a database that does not answer.
    ``busy`` is for how many seconds a write waits for another process's; reading never waits.
    """

    def __init__(self, url: str, schema: Schema, *, busy: float = BUSY_SECONDS) -> None:
        self.url = url
        self._schema = schema
        self._made = False
        self._making = threading.Lock()
        with self._describe("opening the journal"):
            self._engine = _engine(url, busy)

    @contextmanager
    def write(self, attempted: str) -> Iterator[Connection]:
        """Give a transaction that is committed at its end. Raises JournalError."""
        with self._describe(attempted):
            self._make()
            with self._engine.begin() as db:
                yield db

    @contextmanager
    def read(self, attempted: str) -> Iterator[Connection]:
        """Give a connection to read by. Raises JournalError."""
        with self._describe(attempted):
            self._make()
            with self._engine.connect().execution_options(only_reads=True) as db:
                yield db

    def _make(self) -> None:
        """Create or upgrade the tables if needed; finding that they are not waits for no writer."""
        with self._making:
            if self._made:
                return
            with _reachable(self._engine).execution_options(only_reads=True) as db:
                open_schema(self._engine, db, self._schema)
            self._made = True

    def dispose(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    @contextmanager
    def _describe(self, attempted: str) -> Iterator[None]:
        try:
            yield
        except ImportError as error:
            driver = sa.make_url(self.url).get_driver_name()
            other = "name another journal in BACKSTAY_JOURNAL"
            came_back, remedy = drivers.missing(error, driver, otherwise=other)
            raise JournalError(
                f"{attempted} in {_place(self.url)}",
                came_back=came_back,
                remedy=remedy,
            ) from error
        except (SQLAlchemyError, OSError) as error:
            reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
            if isinstance(error, NoSuchModuleError | OSError):
                reason = str(error)
            place = _place(self.url)
            raise JournalError(
                f"{attempted} in {place}",
                came_back=redacted(" ".join(reason.split()))[:300],
                remedy=_RESTORE.format(place=place)
                if any(word in reason.lower() for word in _DAMAGED)
                else f"make sure that {place} can be written and has space, or name another "
                "journal in BACKSTAY_JOURNAL",
            ) from error
        except _ODD as error:
            place = _place(self.url)
            raise JournalError(
                f"{attempted} in {place}",
                came_back=f"it holds something that cannot be read: {own_error(error)}",
                remedy=_RESTORE.format(place=place),
            ) from error


_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What values of other types than a table's raise where they are used: a row is damaged."""
_RESTORE = "restore {place} from a copy of it, or name another journal in BACKSTAY_JOURNAL"
_DAMAGED = ("malformed", "not a database", "encrypted", "could not decode", "corrupt")
"""What SQLite's and PostgreSQL's messages about a damaged file have in common.

https://www.sqlite.org/rescode.html#corrupt
"""


def _place(url: str) -> str:
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return parsed.render_as_string(hide_password=True)
        return without_secrets(url, path=True)  # a password may also be among its options
    except ArgumentError:
        return "BACKSTAY_JOURNAL"


def _engine(url: str, busy: float) -> Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(
            parsed, isolation_level="SERIALIZABLE", pool_pre_ping=True, json_deserializer=decoded
        )
    engine = sa.create_engine(parsed, connect_args={"timeout": busy}, json_deserializer=decoded)
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#serializable-isolation-savepoints-transactional-ddl
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _reachable(engine: Engine) -> Connection:
    """Connect for the first time: SQLite's file is made, for its owner alone."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        file = Path(engine.url.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    return engine.connect()


def _begin_sqlite(db: Connection) -> None:
    # Who would write later takes the lock now, and waits for it; readers of a WAL need none.
    reads = db.get_execution_options().get("only_reads", False)
    db.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    connection.isolation_level = None
    # A byte that is no text makes one value of a row odd, and not the whole table unreadable.
    connection.text_factory = lambda data: data.decode(errors="replace")
    cursor = connection.cursor()
    # A power cut of the operator's machine must not take back what was committed.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
